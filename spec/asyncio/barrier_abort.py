# abort breaks it for those who wait and for those who come; reset makes it usable again.
barrier = Barrier(3)
async def child(name):
    try:
        await barrier.wait()
        log(name, "passed")
    except BrokenBarrierError as err:
        log(name, kind(err), now())
tasks = [create_task(child(name)) for name in "ab"]
await sleep(1)
log(barrier.n_waiting)
await barrier.abort()
await wait(tasks)
await child("late")
log(barrier.broken, barrier.n_waiting)
await barrier.reset()
log(barrier.broken)
await gather(child("c"), child("d"), child("e"))
