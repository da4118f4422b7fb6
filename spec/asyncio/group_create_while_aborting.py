# A task that is added while the group shuts down.
async def bad():
    raise Error("bad")
async def late():
    log("late runs")
async def adder():
    try:
        await sleep(10)
    finally:
        coro = late()
        try:
            group.create_task(coro)
            log("added")
        except RuntimeError as err:
            coro.close()
            log("refused", kind(err))
try:
    async with TaskGroup() as group:
        group.create_task(adder())
        group.create_task(bad())
except ExceptionGroup as err:
    log(err)
