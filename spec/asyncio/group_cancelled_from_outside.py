# Cancelled from outside, in the block or while it waits: the tasks are cancelled, no group.
async def child():
    try:
        await sleep(10)
    finally:
        await sleep(1)
        log("child ends", now())
async def parent(in_block):
    try:
        async with TaskGroup() as group:
            group.create_task(child())
            if in_block:
                await sleep(5)
    except BaseException as err:
        log(err, now(), current_task().cancelling())
        raise
for in_block in True, False:
    task = create_task(parent(in_block))
    await sleep(1)
    task.cancel("outside")
    await wait([task])
    log(task.cancelled())
