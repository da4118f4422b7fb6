-- stop before a run: it makes one pass.
loop:call_soon(log, "one pass")
loop:stop()
loop:run_forever()
log "end"
loop:call_soon(function() loop:call_soon(log, "second pass") end)
loop:stop()
loop:run_forever()
log "end"
loop:stop()
loop:run_forever()
