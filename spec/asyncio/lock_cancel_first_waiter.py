# The first in line is cancelled: the second is next, and nobody else.
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
tasks[0].cancel()
await turns(3)
lock.release()
await wait(tasks)
log(lock.locked())
