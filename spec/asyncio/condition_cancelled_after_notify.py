# Notified, and cancelled before it runs: it takes the lock back and raises.
cond = Condition()
async def child():
    async with cond:
        try:
            await cond.wait()
            log("notified")
        except CancelledError:
            log("cancelled", cond.locked())
            raise
task = create_task(child())
await sleep(0)
async with cond:
    cond.notify()
    task.cancel()
await wait([task])
log(task.cancelled(), cond.locked())
