# The inner task has ended, the outer not yet run: a cancellation is not forwarded any more.
async def inner():
    await fut
    return "inner"
async def outer():
    try:
        log("got", await task_in)
    except CancelledError as err:
        log(err, task_in.cancelled())
        raise
fut = loop.create_future()
task_in = create_task(inner())
task_out = create_task(outer())
await sleep(0)
task_in.add_done_callback(lambda t: log("cancel", task_out.cancel("race")))
fut.set_result(None)
await wait([task_out])
log(task_out.cancelled(), task_in.result())
