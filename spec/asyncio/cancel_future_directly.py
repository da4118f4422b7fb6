# Cancelling a future cancels whoever awaits it; setting it afterwards is refused.
fut = loop.create_future()
async def child():
    await fut
task = create_task(child())
await sleep(0)
log(fut.cancel("gone"), fut.cancelled(), fut.cancel())
try:
    fut.set_result(1)
except InvalidStateError as err:
    log(kind(err))
try:
    await task
except CancelledError as err:
    log(err, task.cancelled(), task.cancelling())
