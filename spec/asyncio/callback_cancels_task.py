# A done callback cancels a task that waits for the same future and was woken after it.
fut = loop.create_future()
async def child():
    try:
        log("got", await fut)
    except CancelledError:
        log("cancelled")
        raise
fut.add_done_callback(lambda f: log("cancel", task.cancel()))
task = create_task(child())
await sleep(0)
fut.set_result("value")
await wait([task])
log(task.cancelled())
