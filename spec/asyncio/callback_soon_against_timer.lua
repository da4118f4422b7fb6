-- call_soon, call_later(0) and one that is due already: the timers come after what is ready.
loop:call_later(0, log, "later 0")
loop:call_at(start - 1, log, "long ago")
loop:call_soon(log, "soon 1")
loop:call_soon(log, "soon 2")
neap.sleep(1)
log "end"
