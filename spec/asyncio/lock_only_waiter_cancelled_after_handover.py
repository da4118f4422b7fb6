# The only one in line is cancelled after the release: the lock is free for others.
lock = Lock()
await lock.acquire()
task = create_task(lock.acquire())
await sleep(0)
lock.release()
task.cancel()
log(lock.locked())
async with lock:
    log("main has it", task.done())
await wait([task])
log(task.cancelled(), lock.locked())
