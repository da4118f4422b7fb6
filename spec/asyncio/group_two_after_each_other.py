# Two groups one after the other: the failure of the first has no effect on the second.
async def child(delay):
    await sleep(delay)
    if delay == 1:
        raise Error("one")
    log("child", delay, now())
for delay in 1, 2:
    try:
        async with TaskGroup() as group:
            group.create_task(child(delay))
            group.create_task(child(3))
    except ExceptionGroup as err:
        log(err, now())
log(now())
