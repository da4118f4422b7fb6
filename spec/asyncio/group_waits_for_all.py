# Leaving the block waits for all its tasks, also for those that were added meanwhile.
async def late():
    await sleep(1)
    log("late", now())
async def child(delay):
    await sleep(delay)
    log("child", now())
    if delay == 2:
        group.create_task(late())
    return delay
async with TaskGroup() as group:
    a, b = group.create_task(child(1)), group.create_task(child(2))
    log("end of the block", now())
log("left", now(), a.result(), b.result())
