# Each of those that pass gets an index of its own.
barrier = Barrier(3)
async def child():
    return await barrier.wait()
log(sorted(i + 1 for i in await gather(child(), child(), child())))
one = Barrier(1)
log(await one.wait() + 1, await one.wait() + 1)
