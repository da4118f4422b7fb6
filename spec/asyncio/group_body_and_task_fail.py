# A task fails, and the block turns its cancellation into another error: both are there.
async def bad():
    await sleep(1)
    raise Error("task")
try:
    async with TaskGroup() as group:
        group.create_task(bad())
        try:
            await sleep(10)
        finally:
            raise Error("body")
except ExceptionGroup as err:
    log(err, current_task().cancelling())
