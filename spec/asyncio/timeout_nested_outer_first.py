# The outer one expires first: the inner passes the cancellation on.
try:
    async with timeout(1) as outer:
        try:
            async with timeout(2) as inner:
                await sleep(10)
        except BaseException as err:
            log("between", err, inner.expired(), outer.expired())
            raise
except TimeoutError as err:
    log(kind(err), now(), inner.expired(), outer.expired())
log(current_task().cancelling())
