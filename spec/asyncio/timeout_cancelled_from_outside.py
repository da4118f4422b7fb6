# Cancelled from outside before the deadline: CancelledError leaves, no TimeoutError.
async def child():
    try:
        async with timeout(5) as cm:
            await sleep(10)
    except BaseException as err:
        log(err, cm.expired(), current_task().cancelling())
        raise
task = create_task(child())
await sleep(1)
task.cancel("outside")
await wait([task])
log(task.cancelled(), now())
