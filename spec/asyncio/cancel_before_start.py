# A task that is cancelled before its first step never runs its function.
async def child():
    log("ran")
task = create_task(child())
log(task.cancel("early"), task.cancelling(), task.done())
try:
    await task
except CancelledError as err:
    log(err)
log(task.cancelled(), task.cancel())
