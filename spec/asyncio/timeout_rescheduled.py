# reschedule moves the deadline, forward, backward and away.
try:
    async with timeout(1) as cm:
        cm.reschedule(start + 3)
        await sleep(2)
        log("past the first deadline", cm.when() - start)
        cm.reschedule(None)
        await sleep(2)
        log("past the second", cm.when())
        cm.reschedule(loop.time() + 1)
        await sleep(10)
except TimeoutError as err:
    log(kind(err), now())
