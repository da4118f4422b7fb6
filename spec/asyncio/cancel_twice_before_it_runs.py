# Two cancellations before the task runs are one error, with the later message.
async def child():
    try:
        await sleep(10)
    except CancelledError as err:
        log(err, current_task().cancelling())
    await sleep(1)
    log("slept", now())
task = create_task(child())
await sleep(0)
log(task.cancel("one"), task.cancel("two"), task.cancelling())
try:
    await task
    log(task.cancelling())
except CancelledError as err:
    log(err)
