# abort when all are there already: those who pass are through, the barrier is broken.
barrier = Barrier(2)
async def child(name):
    try:
        await barrier.wait()
        log(name, "passed")
    except BrokenBarrierError:
        log(name, "broken")
a, b = create_task(child("a")), create_task(child("b"))
await a
await b
await barrier.abort()
await child("c")
log(barrier.broken)
