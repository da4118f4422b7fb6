# A task that cancels itself and returns without waiting is cancelled: its result is lost.
async def child():
    current_task().cancel("self")
    return "result"
task = create_task(child())
await wait([task])
log(task.cancelled(), task.done())
try:
    log(await task)
except CancelledError as err:
    log(err)
