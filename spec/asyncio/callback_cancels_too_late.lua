-- A done callback that was added after the task began to wait comes too late to cancel it.
local fut = neap.Future()
local task = neap.create_task(function() log("got", fut:await()) end)
neap.sleep(0)
fut:add_done_callback(function() log("cancel", task:cancel()) end)
fut:set_result "value"
neap.wait { task }
log(task:cancelled())
