# The timer of the result is armed first; the canceller runs in the same pass, before the task.
async def child():
    try:
        log("got", await fut)
    except CancelledError:
        log("cancelled", now(), fut.done())
        raise
fut = loop.create_future()
loop.call_later(1, fut.set_result, "value")
loop.call_later(1, lambda: log("cancel", task.cancel()))
task = create_task(child())
await wait([task])
log(task.cancelled(), fut.result())
