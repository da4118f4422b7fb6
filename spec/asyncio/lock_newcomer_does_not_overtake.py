# After a release a newcomer does not get the lock before the one who waits.
lock = Lock()
async def child(name):
    async with lock:
        log(name)
await lock.acquire()
a = create_task(child("waiter"))
await sleep(0)
b = create_task(child("newcomer"))
lock.release()
log(lock.locked())
async with lock:
    log("main")
await gather(a, b)
