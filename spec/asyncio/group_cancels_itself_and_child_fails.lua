-- The block cancels its own task and ends; a task of the group fails in its first step.
local task = neap.create_task(function()
  local group <close> = neap.TaskGroup()
  group:create_task(function() error(neap.Error "bad") end)
  neap.current_task():cancel()
  log "block ends"
end)
neap.wait { task }
log(task:cancelled(), not task:cancelled() and task:exception() or nil)
