-- The awaited one is cancelled by others: CancelledError, no TimeoutError, before its time.
local child = neap.create_task(neap.sleep, 10)
loop:call_later(1, function() child:cancel() end)
local _, err = pcall(neap.wait_for, child, 5)
log(kind(err), now(), neap.current_task():cancelling())
neap.sleep(1)
log "goes on"
