# What is shielded has ended, the caller not yet run: cancelled, the result stays with the task.
async def parent():
    try:
        log("got", await shield(fut))
    except CancelledError as err:
        log(kind(err))
        raise
fut = loop.create_future()
task = create_task(parent())
await sleep(0)
fut.set_result("value")
task.cancel()
await wait([task])
log(task.cancelled(), fut.result())
