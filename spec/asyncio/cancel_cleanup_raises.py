# An error in the cleanup takes the place of the cancellation.
async def child():
    try:
        await sleep(10)
    finally:
        raise Error("broken cleanup")
task = create_task(child())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled(), task.exception())
