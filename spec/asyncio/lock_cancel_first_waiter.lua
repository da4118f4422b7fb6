-- The first in line is cancelled: the second is next, and nobody else.
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
tasks[1]:cancel()
turns(3)
lock:release()
neap.wait(tasks)
log(lock:locked())
