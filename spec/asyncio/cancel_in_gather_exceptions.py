# The same with return_exceptions: the caller's cancellation comes when all have ended.
async def child(name, cleanup):
    try:
        await sleep(10)
    finally:
        await sleep(cleanup)
        log(name, "ends", now())
async def parent():
    try:
        log(await gather(child("a", 1), child("b", 2), return_exceptions=True))
    except CancelledError as err:
        log("parent", kind(err), now())
        raise
task = create_task(parent())
await sleep(1)
task.cancel("why")
await wait([task])
log(task.cancelled(), now())
