-- A loop callback and a done callback run outside of any task.
local task = neap.create_task(neap.sleep, 0)
task:add_done_callback(function() log("done callback", neap.current_task()) end)
loop:call_soon(function() log("callback", neap.current_task()) end)
task:await()
neap.sleep(0)
log(neap.current_task() ~= nil)
