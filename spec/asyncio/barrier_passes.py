# The last one to come lets all go on; each gets an index, and the barrier is used again.
barrier = Barrier(3)
async def child(name, delay):
    for _ in range(2):
        await sleep(delay)
        log(name, "comes", now(), barrier.n_waiting)
        await barrier.wait()
        log(name, "goes", now())
await gather(child("a", 1), child("b", 2), child("c", 3))
log(barrier.n_waiting, barrier.broken, barrier.parties)
