-- The result is set in the pass of the time-out, before it: the result counts.
local fut = neap.Future()
loop:call_later(1, function() fut:set_result "value" end)
local ok, value = pcall(neap.wait_for, fut, 1)
log(ok and value or kind(value), now())
log(fut:result(), neap.current_task():cancelling())
