# A waiter that was cancelled takes no notification from the others.
cond = Condition()
async def child(name):
    async with cond:
        await cond.wait()
        log(name)
tasks = [create_task(child(name)) for name in "abc"]
await turns(2)
tasks[0].cancel()
await turns(2)
async with cond:
    cond.notify()
await sleep(1)
log([t.done() for t in tasks])
async with cond:
    cond.notify()
await wait(tasks)
