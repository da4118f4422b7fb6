# An error or a cancellation inside of the block releases the lock.
lock = Lock()
async def bad():
    async with lock:
        raise Error("inside")
async def slow():
    async with lock:
        await sleep(10)
a, b = create_task(bad()), create_task(slow())
await sleep(1)
log(lock.locked(), a.exception())
b.cancel()
async with lock:
    log("main has it", b.cancelled(), now())
