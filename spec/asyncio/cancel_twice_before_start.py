# Two cancellations before the first step are one error, with the later message.
async def child():
    log("not reached")
task = create_task(child())
task.cancel("one")
task.cancel("two")
try:
    await task
except CancelledError as err:
    log(err, task.cancelling())
