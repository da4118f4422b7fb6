# The block is cancelled at the deadline and leaves with TimeoutError.
try:
    async with timeout(1) as cm:
        log(cm.when() - start, cm.expired())
        try:
            await sleep(10)
        except CancelledError as err:
            log("inside", err, current_task().cancelling(), cm.expired())
            raise
except TimeoutError as err:
    log(kind(err), now(), cm.expired(), current_task().cancelling())
await sleep(1)
log("goes on", now())
