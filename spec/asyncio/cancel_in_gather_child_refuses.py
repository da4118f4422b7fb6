# A child that refuses and returns: the gather is cancelled all the same once all have ended.
async def stubborn():
    try:
        await sleep(10)
    except CancelledError:
        current_task().uncancel()
        await sleep(1)
        log("stays", now())
        return "stays"
async def parent():
    try:
        log("results", await gather(stubborn(), stubborn()))
    except CancelledError:
        log("parent cancelled", now())
        raise
task = create_task(parent())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled())
