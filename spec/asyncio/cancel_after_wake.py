# Cancelled after the future it awaits is done, and before it runs: the result is lost.
fut = loop.create_future()
async def child():
    try:
        log("got", await fut)
    except CancelledError as err:
        log(err)
        raise
task = create_task(child())
await sleep(0)
fut.set_result("value")
log(task.cancel("late"), fut.done(), fut.cancelled())
await wait([task])
log(task.cancelled(), fut.result())
