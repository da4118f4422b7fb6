-- Cancelling a future cancels whoever awaits it; setting it afterwards is refused.
local fut = neap.Future()
local task = neap.create_task(function() fut:await() end)
neap.sleep(0)
log(fut:cancel "gone", fut:cancelled(), fut:cancel())
local _, err = pcall(fut.set_result, fut, 1)
log(kind(err))
_, err = pcall(task.await, task)
log(err, task:cancelled(), task:cancelling())
