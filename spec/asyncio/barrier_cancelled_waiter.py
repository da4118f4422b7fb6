# A waiter that is cancelled leaves; the others wait on for somebody in its place.
barrier = Barrier(3)
async def child(name):
    try:
        await barrier.wait()
        log(name, "passed", now())
    except CancelledError:
        log(name, "cancelled", barrier.broken)
        raise
tasks = [create_task(child(name)) for name in "ab"]
await sleep(1)
tasks[0].cancel()
await sleep(1)
log(barrier.n_waiting, barrier.broken)
tasks += [create_task(child(name)) for name in "cd"]
await wait(tasks)
log(barrier.n_waiting, barrier.broken)
