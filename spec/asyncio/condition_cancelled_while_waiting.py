# Cancelled in wait: it takes the lock back before the error is raised.
cond = Condition()
async def child():
    async with cond:
        try:
            await cond.wait()
        except CancelledError as err:
            log(err, cond.locked(), now())
            raise
task = create_task(child())
await sleep(0)
await cond.acquire()
task.cancel("stop")
await sleep(2)
log(task.done(), "still without the lock")
cond.release()
await wait([task])
log(task.cancelled(), cond.locked())
