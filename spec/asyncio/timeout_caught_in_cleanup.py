# A time-out that expires in the cleanup after a cancellation, and is caught there: the cleanup
# goes on.
async def child():
    try:
        await sleep(10)
    finally:
        try:
            async with timeout(1):
                await sleep(5)
        except BaseException as err:
            log("caught", now(), current_task().cancelling())
        await sleep(1)
        log("cleaned", now())
task = create_task(child())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled(), now())
