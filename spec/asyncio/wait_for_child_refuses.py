# One that refuses its cancellation and returns a result: that is the result.
async def child():
    try:
        await sleep(10)
    except CancelledError:
        current_task().uncancel()
        return "kept"
task = create_task(child())
try:
    log(await wait_for(task, 1), now())
except TimeoutError as err:
    log(kind(err), now())
log(task.cancelled(), task.result())
