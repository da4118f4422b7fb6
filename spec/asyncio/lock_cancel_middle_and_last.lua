-- Cancelled in the middle and at the end of the line, before and after the release.
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
for name in ("abcd"):gmatch "." do tasks[#tasks + 1] = neap.create_task(child, name) end
neap.sleep(0)
tasks[2]:cancel()
lock:release()
tasks[4]:cancel()
neap.wait(tasks)
log(lock:locked())
do
  local _held <close> = lock:acquire()
  log "free"
end
