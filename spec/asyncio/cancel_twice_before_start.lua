-- Two cancellations before the first step are one error, with the later message.
local task = neap.create_task(function() log "not reached" end)
task:cancel "one"
task:cancel "two"
local _, err = pcall(task.await, task)
log(err, task:cancelling())
