# Notified, then cancelled while it takes the lock back: it takes it first, then raises.
cond = Condition()
async def child():
    async with cond:
        try:
            await cond.wait()
            log("notified")
        except CancelledError as err:
            log(kind(err), cond.locked(), now())
            raise
task = create_task(child())
await sleep(0)
await cond.acquire()
cond.notify()
await sleep(1)
task.cancel()
await sleep(1)
log(task.done())
cond.release()
await wait([task])
log(task.cancelled(), cond.locked())
