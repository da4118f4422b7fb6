# Rescheduled to a time that has passed: it expires at the next wait.
try:
    async with timeout(10) as cm:
        await sleep(2)
        cm.reschedule(loop.time() - 1)
        log("rescheduled", cm.expired())
        await sleep(1)
except TimeoutError as err:
    log(kind(err), now(), cm.expired())
