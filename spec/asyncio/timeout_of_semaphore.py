# Time-outs in line for a semaphore: the units are not lost, and the order stays.
sem = Semaphore(1)
async def child(name, patience, work):
    try:
        async with timeout(patience):
            await sem.acquire()
    except TimeoutError:
        log(name, "gave up", now())
        return
    log(name, "in", now())
    await sleep(work)
    sem.release()
await gather(child("a", 5, 3), child("b", 1, 3), child("c", 5, 3), child("d", 2, 3), child("e", 9, 1))
log(sem.locked())
