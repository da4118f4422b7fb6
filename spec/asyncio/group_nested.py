# A failure in the inner group leaves it as a group inside of the outer one's.
async def bad():
    await sleep(1)
    raise Error("deep")
async def sibling():
    try:
        await sleep(10)
    finally:
        log("sibling", now())
try:
    async with TaskGroup() as outer:
        outer.create_task(sibling())
        async with TaskGroup() as inner:
            inner.create_task(bad())
except ExceptionGroup as err:
    log(err, now())
