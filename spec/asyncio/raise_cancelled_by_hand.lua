-- A task that raises CancelledError of its own accord is cancelled.
local task = neap.create_task(function() error(neap.CancelledError "by hand") end)
local _, err = pcall(task.await, task)
log(err, task:cancelled(), task:cancelling())
