-- Callbacks: those of call_soon first come first served; timers by time, equal ones in order.
loop:call_later(2, log, "2 seconds")
loop:call_later(1, log, "1 second, first")
loop:call_at(start + 1, log, "1 second, second")
loop:call_soon(log, "soon 1")
loop:call_soon(log, "soon 2", "with", 3, nil)
log "scheduled"
neap.sleep(3)
log(now())
