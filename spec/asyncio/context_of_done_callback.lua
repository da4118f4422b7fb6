-- A done callback has the context of where it was added, not that of the task.
local var = neap.ContextVar("var", "default")
local task = neap.create_task(function() var:set "child" end)
neap.create_task(function()
  var:set "adder"
  task:add_done_callback(function() log("callback", var:get()) end)
end):await()
task:await()
neap.sleep(0)
log(var:get())
