-- Notified, and cancelled before it runs: it takes the lock back and raises.
local cond = neap.Condition()
local task = neap.create_task(function()
  local _held <close> = cond:acquire()
  local ok, err = pcall(cond.wait, cond)
  if ok then log "notified" return end
  log("cancelled", cond:locked())
  error(err, 0)
end)
neap.sleep(0)
do
  local _held <close> = cond:acquire()
  cond:notify()
  task:cancel()
end
neap.wait { task }
log(task:cancelled(), cond:locked())
