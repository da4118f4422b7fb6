-- A time-out in line for a lock: the place in line is given up, and the lock is not lost.
local lock = neap.Lock():acquire()
local function child(name, delay)
  local ok = pcall(function()
    local _t <close> = neap.timeout(delay)
    local _held <close> = lock:acquire()
    log(name, "has it", now())
  end)
  if not ok then log(name, "timed out", now(), lock:locked()) end
end
local tasks = { neap.create_task(child, "a", 1), neap.create_task(child, "b", 5) }
neap.sleep(2)
lock:release()
neap.wait(tasks)
log(lock:locked())
