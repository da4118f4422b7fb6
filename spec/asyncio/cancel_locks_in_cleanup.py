# The cleanup after a cancellation takes a lock that others hold, and releases its own.
a, b = Lock(), Lock()
async def holder():
    async with b:
        await sleep(5)
    async with a:
        log("holder has a", now())
async def child():
    async with a:
        try:
            await sleep(10)
        finally:
            async with b:
                log("cleanup has b", now())
h, task = create_task(holder()), create_task(child())
await sleep(1)
task.cancel()
await wait([task, h])
log(task.cancelled(), a.locked(), b.locked())
