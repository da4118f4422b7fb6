# Cancelled in the pass in which the children were made: they take their first step before.
async def child(name, fails):
    log(name, "starts")
    if fails:
        raise Error(name)
    await sleep(10)
async def parent(fails):
    async with TaskGroup() as group:
        group.create_task(child("a", False))
        group.create_task(child("b", fails))
async def other(task):
    log("cancel", task.cancel())
for fails in (False, True):
    task = create_task(parent(fails))
    create_task(other(task))
    try:
        await task
    except BaseException as err:
        log(err, now(), task.cancelling())
