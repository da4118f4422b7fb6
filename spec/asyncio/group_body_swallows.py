# The block swallows the cancellation that a failure brought: the group still leaves its error.
async def bad():
    await sleep(1)
    raise Error("bad")
try:
    async with TaskGroup() as group:
        group.create_task(bad())
        try:
            await sleep(10)
        except CancelledError:
            log("swallowed", now())
except ExceptionGroup as err:
    log(err, now())
await sleep(1)
log("goes on", current_task().cancelling())
