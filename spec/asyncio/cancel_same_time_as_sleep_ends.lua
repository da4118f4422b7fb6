-- The canceller's timer is armed first, for the same time: the sleep is cancelled.
local task
loop:call_later(1, function() log("cancel", task:cancel()) end)
task = neap.create_task(function()
  local ok, err = pcall(neap.sleep, 1)
  if ok then log "slept" return end
  log("cancelled", now())
  error(err, 0)
end)
neap.wait { task }
log(task:cancelled())
