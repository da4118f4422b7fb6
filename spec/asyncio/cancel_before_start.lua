-- A task that is cancelled before its first step never runs its function.
local task = neap.create_task(function() log "ran" end)
log(task:cancel "early", task:cancelling(), task:done())
local _, err = pcall(task.await, task)
log(err)
log(task:cancelled(), task:cancel())
