# The block cancels its own task and ends; a task of the group fails in its first step.
async def bad():
    raise Error("bad")
async def parent():
    async with TaskGroup() as group:
        group.create_task(bad())
        current_task().cancel()
        log("block ends")
task = create_task(parent())
await wait([task])
log(task.cancelled(), None if task.cancelled() else task.exception())
