-- An error in a callback is reported, and the next callbacks run.
local fut = neap.Future()
fut:add_done_callback(function() error(neap.Error "bad callback") end)
fut:add_done_callback(function() log "next" end)
fut:set_result "value"
log(fut:await())
neap.sleep(0)
log "end"
