# Cancelled while the cleanup after an error waits: the cancellation takes the error's place.
async def child():
    try:
        raise Error("first")
    finally:
        await sleep(10)
        log("not reached")
task = create_task(child())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled(), now())
