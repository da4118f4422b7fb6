-- Cancelled twice while it takes the lock back: once raised, with the lock held.
local cond = neap.Condition()
local task = neap.create_task(function()
  local _held <close> = cond:acquire()
  local _, err = pcall(cond.wait, cond)
  log(kind(err), cond:locked(), neap.current_task():cancelling(), now())
  error(err, 0)
end)
neap.sleep(0)
cond:acquire()
for _ = 1, 3 do
  task:cancel()
  neap.sleep(1)
end
cond:release()
neap.wait { task }
log(task:cancelled(), cond:locked())
