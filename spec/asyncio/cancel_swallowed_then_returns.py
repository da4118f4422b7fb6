# A task that catches its cancellation and returns is done and not cancelled.
async def child():
    try:
        await sleep(10)
    except CancelledError:
        return "kept"
task = create_task(child())
await sleep(1)
task.cancel()
log(await task, task.cancelled(), task.cancelling())
