# The deadline passes while the block cleans up after a cancellation from outside.
async def child():
    try:
        async with timeout(2) as cm:
            try:
                await sleep(10)
            finally:
                try:
                    await sleep(5)
                finally:
                    log("cleanup interrupted", now(), cm.expired())
    except BaseException as err:
        log(kind(err), current_task().cancelling())
        raise
task = create_task(child())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled())
