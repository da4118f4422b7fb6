# The same with wait_for, and with a task that fails.
async def bad():
    raise Error("bad")
async def child():
    try:
        await sleep(10)
    finally:
        try:
            await wait_for(sleep(5), 1)
        except TimeoutError:
            log("caught", now())
        try:
            await create_task(bad())
        except Error as err:
            log("caught", err)
        await sleep(1)
        log("cleaned", now())
task = create_task(child())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled(), now())
