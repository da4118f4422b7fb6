-- The end of a task: its callbacks and those who await it, in the order in which they came.
local task = neap.create_task(neap.sleep, 1)
task:add_done_callback(function() log "before" end)
local w = neap.create_task(function()
  task:await()
  log "watcher"
end)
neap.sleep(0)
task:add_done_callback(function() log "after" end)
w:await()
