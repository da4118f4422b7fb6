# A task's error is raised in the block that awaits it: it is in the group once.
async def bad():
    await sleep(1)
    raise Error("bad")
try:
    async with TaskGroup() as group:
        task = group.create_task(bad())
        try:
            await task
        except BaseException as err:
            log("block sees", kind(err))
            raise
except ExceptionGroup as err:
    log(err, err.exceptions[0] is task.exception(), current_task().cancelling())
