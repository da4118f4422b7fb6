# A second cancellation while the first one's cleanup waits interrupts the cleanup.
async def child():
    try:
        await sleep(10)
    finally:
        log("cleanup", now())
        try:
            await sleep(10)
        finally:
            log("cleanup interrupted", now(), current_task().cancelling())
task = create_task(child())
await sleep(1)
task.cancel("first")
await sleep(1)
task.cancel("second")
try:
    await task
except CancelledError as err:
    log(err, now())
