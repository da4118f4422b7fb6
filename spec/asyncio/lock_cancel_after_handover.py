# The first in line is cancelled between the release and its run: the next gets the lock.
lock = Lock()
async def child(name):
    try:
        async with lock:
            log(name, "has it")
    except CancelledError:
        log(name, "cancelled")
        raise
await lock.acquire()
tasks = [create_task(child(name)) for name in "abc"]
await sleep(0)
lock.release()
tasks[0].cancel()
await wait(tasks)
log(lock.locked())
