# Cleanup may take its time; whoever awaits the task waits for it.
async def child():
    try:
        await sleep(10)
    finally:
        await sleep(3)
        log("cleaned", now())
task = create_task(child())
await sleep(1)
task.cancel()
log(task.done(), task.cancelled())
try:
    await task
except CancelledError as err:
    log(err, now(), task.cancelled())
