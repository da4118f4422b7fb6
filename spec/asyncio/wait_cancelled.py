# Cancelling the caller of wait does not touch what it waits for.
async def child():
    await sleep(3)
    log("child ends", now())
inner = create_task(child())
async def parent():
    try:
        await wait([inner], timeout=10)
    except CancelledError as err:
        log(err, inner.done(), inner.cancelling())
        raise
task = create_task(parent())
await sleep(1)
task.cancel("outside")
await wait([task])
log(task.cancelled(), now())
await inner
