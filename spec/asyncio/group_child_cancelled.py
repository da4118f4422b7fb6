# A task of the group that is cancelled by others is no failure.
async with TaskGroup() as group:
    a = group.create_task(sleep(10))
    b = group.create_task(sleep(2))
    await sleep(1)
    a.cancel()
    await sleep(0)
log(a.cancelled(), b.cancelled(), now())
