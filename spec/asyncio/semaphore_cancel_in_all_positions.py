# Waiters at the front, in the middle and at the end are cancelled, some after a release.
sem = Semaphore(0)
async def child(name):
    try:
        await sem.acquire()
        log(name, "in")
    except CancelledError:
        log(name, "cancelled")
        raise
tasks = {name: create_task(child(name)) for name in "abcdef"}
await sleep(0)
tasks["c"].cancel()
sem.release()
sem.release()
tasks["a"].cancel()
tasks["f"].cancel()
await sleep(1)
log([name for name in "abcdef" if not tasks[name].done()])
sem.release()
sem.release()
await wait(tasks.values())
log(sem.locked())
