# A cleanup that cancels its own task is interrupted at its next wait.
async def child():
    try:
        await sleep(10)
    finally:
        current_task().cancel("again")
        try:
            await sleep(5)
        except CancelledError as err:
            log(err, current_task().cancelling())
            raise
task = create_task(child())
await sleep(1)
task.cancel("first")
await wait([task])
log(task.cancelled(), now())
