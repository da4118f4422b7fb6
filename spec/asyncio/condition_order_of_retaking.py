# Those that are notified take the lock back in their order, behind who waits for it already.
cond = Condition()
async def waiter(name):
    async with cond:
        await cond.wait()
        log(name)
async def taker():
    async with cond:
        log("taker")
tasks = [create_task(waiter(name)) for name in "ab"]
await turns(2)
await cond.acquire()
tasks.append(create_task(taker()))
await turns(2)
cond.notify_all()
cond.release()
await wait(tasks)
