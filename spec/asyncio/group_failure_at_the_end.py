# The failure comes when the block has ended and the group waits for its tasks.
async def bad():
    await sleep(1)
    raise Error("bad")
async def sibling():
    try:
        await sleep(10)
    finally:
        log("sibling", now())
try:
    async with TaskGroup() as group:
        group.create_task(bad())
        group.create_task(sibling())
        log("block ends")
except ExceptionGroup as err:
    log(err, now())
await sleep(1)
log("goes on")
