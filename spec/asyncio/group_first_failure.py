# The first failure cancels the siblings and the block, and leaves as an ExceptionGroup.
async def bad():
    await sleep(1)
    raise Error("bad")
async def sibling(name):
    try:
        await sleep(10)
    except CancelledError:
        log(name, "cancelled", now())
        raise
try:
    async with TaskGroup() as group:
        group.create_task(sibling("sibling"))
        group.create_task(bad())
        try:
            await sleep(5)
        finally:
            log("block ends", now(), current_task().cancelling())
except ExceptionGroup as err:
    log(err, now(), current_task().cancelling())
