# Units go to those who wait in the order of arrival.
sem = Semaphore(2)
async def child(name, work):
    async with sem:
        log(name, "in", now())
        await sleep(work)
    log(name, "out", now())
await gather(child("a", 3), child("b", 1), child("c", 1), child("d", 0.5), child("e", 1))
log(sem.locked())
