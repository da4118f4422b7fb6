# The same with a group that fails in the cleanup.
async def bad():
    await sleep(1)
    raise Error("bad")
async def child():
    try:
        await sleep(10)
    finally:
        try:
            async with TaskGroup() as group:
                group.create_task(bad())
                await sleep(5)
        except ExceptionGroup as err:
            log("caught", err, now())
        await sleep(1)
        log("cleaned", now())
task = create_task(child())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled(), now())
