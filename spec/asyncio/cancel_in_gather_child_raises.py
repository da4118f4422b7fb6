# A child turns its cancellation into another error: the caller of gather gets that one.
async def broken():
    try:
        await sleep(10)
    finally:
        raise Error("broken")
async def parent():
    await gather(broken(), sleep(10))
task = create_task(parent())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled(), task.exception())
