# Notifying more than there are, and nobody: nothing is kept for later.
cond = Condition()
async def child(name):
    async with cond:
        await cond.wait()
        log(name)
async with cond:
    cond.notify()
    cond.notify_all()
    cond.notify(100)
tasks = [create_task(child(name)) for name in "ab"]
await sleep(1)
async with cond:
    cond.notify(0)
await sleep(1)
log([t.done() for t in tasks])
async with cond:
    cond.notify(100)
await wait(tasks)
