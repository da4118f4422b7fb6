-- Cancelled in a sleep: the error comes one pass later, at the same time.
local task = neap.create_task(function()
  local _f <close> = finally(function() log("finally", now()) end)
  neap.sleep(10)
  log "not reached"
end)
neap.sleep(2)
log(task:cancel(), task:done())
neap.sleep(0)
log(task:done())
neap.wait { task }
log(task:cancelled(), now())
