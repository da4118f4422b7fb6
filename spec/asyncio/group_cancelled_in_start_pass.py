# Cancelled in the pass in which its tasks were made: they still have their first step.
async def child():
    log("child starts")
    try:
        await sleep(10)
    finally:
        log("child cancelled")
async def parent():
    async with TaskGroup() as group:
        group.create_task(child())
task = create_task(parent())
loop.call_soon(lambda: log("cancel", task.cancel()))
await wait([task])
log(task.cancelled())
