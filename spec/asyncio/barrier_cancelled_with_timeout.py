# A time-out at the barrier: who gives up leaves it as it was for the others.
barrier = Barrier(2)
async def child(name, patience):
    try:
        async with timeout(patience):
            await barrier.wait()
        log(name, "passed", now())
    except TimeoutError:
        log(name, "gave up", now(), barrier.n_waiting, barrier.broken)
await child("a", 1)
await gather(child("b", 5), child("c", 5))
