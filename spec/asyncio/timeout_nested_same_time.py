# Both expire in the same pass: the inner one leaves the cancellation to the outer.
try:
    async with timeout(1) as outer:
        try:
            async with timeout(1) as inner:
                await sleep(10)
        except BaseException as err:
            log("between", kind(err), inner.expired(), outer.expired())
            raise
except TimeoutError as err:
    log(kind(err), now(), current_task().cancelling())
await sleep(1)
log("goes on")
