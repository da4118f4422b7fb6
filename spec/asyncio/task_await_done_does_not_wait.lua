-- Awaiting what is done lets nobody else run.
local task = neap.create_task(neap.sleep, 0, "value")
task:await()
loop:call_soon(log, "callback")
log(task:await())
log "before the callback"
neap.sleep(0)
