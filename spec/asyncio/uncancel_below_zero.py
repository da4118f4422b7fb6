# The counter does not go below 0.
log(current_task().uncancel(), current_task().cancelling())
async def child():
    try:
        await sleep(1)
    except CancelledError:
        log(current_task().uncancel(), current_task().uncancel(), current_task().cancelling())
task = create_task(child())
await sleep(0)
task.cancel()
await task
