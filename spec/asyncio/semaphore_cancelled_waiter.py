# A waiter is cancelled before it gets its unit: the next gets it.
sem = Semaphore(0)
async def child(name):
    try:
        await sem.acquire()
        log(name, "got it")
    except CancelledError:
        log(name, "cancelled")
        raise
tasks = [create_task(child(name)) for name in "abc"]
await sleep(0)
tasks[0].cancel()
await turns(2)
sem.release()
await turns(4)
log([t.done() for t in tasks])
sem.release()
await wait(tasks)
log(sem.locked())
