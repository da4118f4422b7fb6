# A block that swallows the cancellation and ends well leaves without TimeoutError.
async with timeout(1) as cm:
    try:
        await sleep(10)
    except CancelledError:
        log("swallowed", current_task().cancelling())
log(cm.expired(), current_task().cancelling(), now())
await sleep(1)
log("goes on", now())
