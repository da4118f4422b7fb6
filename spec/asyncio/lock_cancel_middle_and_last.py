# Cancelled in the middle and at the end of the line, before and after the release.
lock = Lock()
async def child(name):
    try:
        async with lock:
            log(name, "has it")
    except CancelledError:
        log(name, "cancelled")
        raise
await lock.acquire()
tasks = [create_task(child(name)) for name in "abcd"]
await sleep(0)
tasks[1].cancel()
lock.release()
tasks[3].cancel()
await wait(tasks)
log(lock.locked())
async with lock:
    log("free")
