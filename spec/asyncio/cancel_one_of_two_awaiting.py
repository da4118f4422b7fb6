# Two await the same task, one of them is cancelled: the task is cancelled for both.
async def inner():
    await sleep(10)
async def outer(name):
    try:
        await task_in
    except CancelledError:
        log(name, current_task().cancelling())
        raise
task_in = create_task(inner())
a, b = create_task(outer("a")), create_task(outer("b"))
await sleep(1)
a.cancel()
await wait([a, b])
log(task_in.cancelled(), a.cancelled(), b.cancelled(), now())
