# A lock goes from one to the next in the order of arrival.
lock = Lock()
async def child(name):
    log(name, "asks")
    async with lock:
        log(name, "has it", now())
        await sleep(1)
    log(name, "released")
await gather(child("a"), child("b"), child("c"))
log(lock.locked())
