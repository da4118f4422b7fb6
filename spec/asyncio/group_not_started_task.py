# A task that had not started when the group failed never runs its function.
async def child():
    log("never runs")
try:
    async with TaskGroup() as group:
        task = group.create_task(child())
        raise Error("body")
except ExceptionGroup as err:
    log(err, task.cancelled())
