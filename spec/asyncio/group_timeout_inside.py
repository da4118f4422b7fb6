# A time-out inside of the block: its error fails the group.
async def child():
    try:
        await sleep(10)
    finally:
        log("child", now())
try:
    async with TaskGroup() as group:
        group.create_task(child())
        async with timeout(1):
            await sleep(5)
except ExceptionGroup as err:
    log([kind(e) for e in err.exceptions], now(), current_task().cancelling())
