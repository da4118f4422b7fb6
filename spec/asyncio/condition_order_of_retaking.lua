-- Those that are notified take the lock back in their order, behind who waits for it already.
local cond = neap.Condition()
local function waiter(name)
  local _held <close> = cond:acquire()
  cond:wait()
  log(name)
end
local tasks = { neap.create_task(waiter, "a"), neap.create_task(waiter, "b") }
turns(2)
cond:acquire()
tasks[3] = neap.create_task(function()
  local _held <close> = cond:acquire()
  log "taker"
end)
turns(2)
cond:notify_all()
cond:release()
neap.wait(tasks)
