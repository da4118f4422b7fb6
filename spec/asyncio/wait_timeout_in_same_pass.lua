-- The last one ends in the pass of the time-out, before it.
local fut = neap.Future()
loop:call_later(1, function() fut:set_result "value" end)
local done, pending = neap.wait({ fut }, { timeout = 1 })
log(#done, #pending, now())
