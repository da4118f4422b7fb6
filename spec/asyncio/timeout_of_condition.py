# A time-out of Condition.wait takes the lock back first, however long that takes.
cond = Condition()
async def holder():
    await sleep(1)
    async with cond:
        await sleep(5)
task = create_task(holder())
async with cond:
    try:
        async with timeout(2):
            await cond.wait()
    except TimeoutError:
        log("timed out", now(), cond.locked())
log(cond.locked())
await task
