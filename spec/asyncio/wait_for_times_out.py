# Past the time-out the awaited one is cancelled, and waited for; then TimeoutError.
async def child():
    try:
        await sleep(10)
    except CancelledError as err:
        log("cancelled", now())
        await sleep(1)
        log("cleaned", now())
        raise
try:
    await wait_for(child(), 2)
except TimeoutError as err:
    log(kind(err), now(), current_task().cancelling())
