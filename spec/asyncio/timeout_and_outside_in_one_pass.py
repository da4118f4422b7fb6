# The deadline and a cancellation from outside in the same pass: the cancellation wins.
async def child():
    try:
        async with timeout(1) as cm:
            await sleep(10)
    except BaseException as err:
        log(kind(err), cm.expired(), current_task().cancelling(), now())
        raise
for first in True, False:
    if first:
        loop.call_later(1, lambda: task.cancel())
    task = create_task(child())
    await sleep(0)
    if not first:
        loop.call_later(1, lambda: task.cancel())
    await wait([task])
    log(task.cancelled())
