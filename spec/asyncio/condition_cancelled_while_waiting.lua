-- Cancelled in wait: it takes the lock back before the error is raised.
local cond = neap.Condition()
local task = neap.create_task(function()
  local _held <close> = cond:acquire()
  local _, err = pcall(cond.wait, cond)
  log(err, cond:locked(), now())
  error(err, 0)
end)
neap.sleep(0)
cond:acquire()
task:cancel "stop"
neap.sleep(2)
log(task:done(), "still without the lock")
cond:release()
neap.wait { task }
log(task:cancelled(), cond:locked())
