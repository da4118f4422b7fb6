# A task that raises CancelledError of its own accord is cancelled.
async def child():
    raise CancelledError("by hand")
task = create_task(child())
try:
    await task
except CancelledError as err:
    log(err, task.cancelled(), task.cancelling())
