-- A task that awaits a failed one fails with the very same error; only the last is unseen.
local task_in = neap.create_task(function() error(neap.Error "deep") end)
local task_mid = neap.create_task(function() task_in:await() end)
neap.wait { task_mid }
log(task_mid:exception() == task_in:exception())
