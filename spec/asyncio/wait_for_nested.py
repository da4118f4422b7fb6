# The inner time-out is the shorter, then the longer one.
async def inner(delay):
    try:
        return await wait_for(sleep(10), delay)
    except TimeoutError:
        log("inner times out", now())
        return "inner"
    except CancelledError:
        log("inner cancelled", now())
        raise
log(await wait_for(inner(1), 2))
try:
    await wait_for(inner(5), 2)
except TimeoutError:
    log("outer times out", now())
