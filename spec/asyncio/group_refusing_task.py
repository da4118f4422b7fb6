# A task that refuses its cancellation goes on, and the group waits for it.
async def stubborn():
    try:
        await sleep(10)
    except CancelledError:
        current_task().uncancel()
    await sleep(3)
    log("stubborn ends", now())
async def bad():
    await sleep(1)
    raise Error("bad")
try:
    async with TaskGroup() as group:
        group.create_task(stubborn())
        group.create_task(bad())
except ExceptionGroup as err:
    log(err, now())
