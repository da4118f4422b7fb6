# An error of the block cancels the tasks and is in the group.
async def child():
    try:
        await sleep(10)
    finally:
        log("child cancelled", now())
try:
    async with TaskGroup() as group:
        group.create_task(child())
        await sleep(1)
        raise Error("body")
except ExceptionGroup as err:
    log(err, now())
try:
    async with TaskGroup() as group:
        raise Error("alone")
except ExceptionGroup as err:
    log(err)
