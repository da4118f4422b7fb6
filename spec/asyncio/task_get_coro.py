# A task that is not done has its coroutine.
async def child():
    log(current_task().get_coro() is not None)
    await sleep(1)
task = create_task(child())
log(task.get_coro() is not None)
await sleep(0)
log(task.get_coro() is not None)
await task
