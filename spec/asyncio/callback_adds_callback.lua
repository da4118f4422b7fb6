-- A callback that adds another, and one that starts a task: both come in a later pass.
local fut = neap.Future()
fut:add_done_callback(function(f)
  log "first"
  f:add_done_callback(function() log "added" end)
  neap.create_task(log, "task")
end)
fut:add_done_callback(function() log "second" end)
fut:cancel()
neap.sleep(0)
log "one pass"
neap.sleep(0)
