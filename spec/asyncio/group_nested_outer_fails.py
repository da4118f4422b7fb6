# A failure in the outer group cancels the inner one, which leaves without a group.
async def bad():
    await sleep(1)
    raise Error("outer")
async def child():
    try:
        await sleep(10)
    finally:
        log("inner child", now())
try:
    async with TaskGroup() as outer:
        outer.create_task(bad())
        try:
            async with TaskGroup() as inner:
                inner.create_task(child())
        except BaseException as err:
            log("inner leaves with", kind(err))
            raise
except ExceptionGroup as err:
    log(err, now(), current_task().cancelling())
