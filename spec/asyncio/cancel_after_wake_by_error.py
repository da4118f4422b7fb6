# Woken by an error and cancelled before it runs: the cancellation is what it sees.
fut = loop.create_future()
async def child():
    try:
        await fut
    except BaseException as err:
        log("sees", err)
        raise
task = create_task(child())
await sleep(0)
fut.set_exception(Error("lost"))
task.cancel()
await wait([task])
log(task.cancelled(), fut.exception())
