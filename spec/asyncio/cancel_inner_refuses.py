# The awaited task refuses its cancellation and returns: the outer gets that result.
async def inner():
    try:
        await sleep(10)
    except CancelledError:
        current_task().uncancel()
        await sleep(1)
        return "stays"
async def outer():
    value = await task_in
    log("outer got", value, current_task().cancelling(), now())
    return value
task_in = create_task(inner())
task_out = create_task(outer())
await sleep(1)
task_out.cancel()
log(await task_out, task_out.cancelled(), task_out.cancelling())
