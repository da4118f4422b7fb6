# A time-out in line for a lock: the place in line is given up, and the lock is not lost.
lock = Lock()
await lock.acquire()
async def child(name, delay):
    try:
        async with timeout(delay):
            async with lock:
                log(name, "has it", now())
    except TimeoutError:
        log(name, "timed out", now(), lock.locked())
tasks = [create_task(child("a", 1)), create_task(child("b", 5))]
await sleep(2)
lock.release()
await wait(tasks)
log(lock.locked())
