-- Notified, then cancelled while it takes the lock back: it takes it first, then raises.
local cond = neap.Condition()
local task = neap.create_task(function()
  local _held <close> = cond:acquire()
  local ok, err = pcall(cond.wait, cond)
  if ok then log "notified" return end
  log(kind(err), cond:locked(), now())
  error(err, 0)
end)
neap.sleep(0)
cond:acquire()
cond:notify()
neap.sleep(1)
task:cancel()
neap.sleep(1)
log(task:done())
cond:release()
neap.wait { task }
log(task:cancelled(), cond:locked())
