# Cancelled twice while it takes the lock back: once raised, with the lock held.
cond = Condition()
async def child():
    async with cond:
        try:
            await cond.wait()
        except CancelledError as err:
            log(kind(err), cond.locked(), current_task().cancelling(), now())
            raise
task = create_task(child())
await sleep(0)
await cond.acquire()
for _ in range(3):
    task.cancel()
    await sleep(1)
cond.release()
await wait([task])
log(task.cancelled(), cond.locked())
