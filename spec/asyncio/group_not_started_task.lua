-- A task that had not started when the group failed never runs its function.
local task
local _, err = pcall(function()
  local group <close> = neap.TaskGroup()
  task = group:create_task(function() log "never runs" end)
  error(neap.Error "body")
end)
log(err, task:cancelled())
