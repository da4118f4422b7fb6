# Cancelling a task that awaits another cancels that one first, message included.
async def inner():
    try:
        await sleep(10)
    except CancelledError as err:
        log("inner", err)
        raise
async def outer():
    try:
        await task_in
    except CancelledError as err:
        log("outer", err, task_in.done())
        raise
task_in = create_task(inner())
task_out = create_task(outer())
await sleep(1)
log(task_out.cancel("why"), task_in.cancelling(), task_out.cancelling())
await wait([task_out])
log(task_in.cancelled(), task_out.cancelled())
