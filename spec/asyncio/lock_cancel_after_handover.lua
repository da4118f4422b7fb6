-- The first in line is cancelled between the release and its run: the next gets the lock.
local lock = neap.Lock()
local function child(name)
  local ok, err = pcall(function()
    local _held <close> = lock:acquire()
    log(name, "has it")
  end)
  if ok then return end
  log(name, "cancelled")
  error(err, 0)
end
lock:acquire()
local tasks = {}
for name in ("abc"):gmatch "." do tasks[#tasks + 1] = neap.create_task(child, name) end
neap.sleep(0)
lock:release()
tasks[1]:cancel()
neap.wait(tasks)
log(lock:locked())
