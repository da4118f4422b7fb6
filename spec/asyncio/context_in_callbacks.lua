-- Callbacks run in the context in which they were scheduled.
local var = neap.ContextVar("var", "default")
var:set "first"
loop:call_soon(function() log("soon", var:get()) end)
loop:call_later(1, function() log("later", var:get()) end)
local fut = neap.Future()
fut:add_done_callback(function() log("done callback", var:get()) end)
var:set "second"
fut:set_result(nil)
loop:call_soon(function() var:set "by callback" end)
neap.sleep(2)
log(var:get())
