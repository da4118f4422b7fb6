-- A callback added to a future that is done is called by the loop, not at once.
local fut = neap.Future()
fut:set_result(1)
fut:add_done_callback(function() log "callback" end)
log "added"
neap.sleep(0)
log "end"
