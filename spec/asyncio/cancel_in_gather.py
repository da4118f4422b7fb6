# Cancelling a task that waits in gather cancels all children; it goes on when they have ended.
async def child(name, cleanup):
    try:
        await sleep(10)
    finally:
        await sleep(cleanup)
        log(name, "ends", now())
async def parent():
    try:
        await gather(child("a", 1), child("b", 2), child("c", 1.5))
    except CancelledError as err:
        log("parent", err, now())
        raise
task = create_task(parent())
await sleep(1)
log(task.cancel("why"))
await wait([task])
log(task.cancelled(), now())
await sleep(5)
