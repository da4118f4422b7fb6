# A waiter is cancelled after the release and before it runs: the unit goes on to the next.
sem = Semaphore(0)
async def child(name):
    try:
        await sem.acquire()
        log(name, "got it")
    except CancelledError:
        log(name, "cancelled")
        raise
tasks = [create_task(child(name)) for name in "ab"]
await sleep(0)
sem.release()
tasks[0].cancel()
await wait(tasks)
log(tasks[0].cancelled(), sem.locked())
