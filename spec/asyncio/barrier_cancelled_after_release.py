# One is cancelled when all are there and it has not run yet: the others pass.
barrier = Barrier(3)
async def child(name):
    try:
        await barrier.wait()
        log(name, "passed")
    except CancelledError:
        log(name, "cancelled")
        raise
tasks = [create_task(child(name)) for name in "ab"]
await sleep(0)
async def last():
    tasks[0].cancel()
    await child("c")
async def canceller():
    log("all there", tasks[0].cancel())
tasks.append(create_task(child("c")))
tasks.append(create_task(canceller()))
await wait(tasks)
log(barrier.n_waiting, barrier.broken, [t.cancelled() for t in tasks])
