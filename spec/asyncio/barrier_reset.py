# reset sends those who wait away with an error; the barrier is not broken then.
barrier = Barrier(3)
async def child(name):
    try:
        await barrier.wait()
        log(name, "passed")
    except BrokenBarrierError as err:
        log(name, kind(err))
tasks = [create_task(child(name)) for name in "ab"]
await sleep(1)
await barrier.reset()
await wait(tasks)
log(barrier.broken, barrier.n_waiting)
await gather(child("c"), child("d"), child("e"))
