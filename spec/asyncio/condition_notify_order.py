# notify wakes in the order of arrival, notify(n) n of them, notify_all the rest.
cond = Condition()
async def child(name):
    async with cond:
        await cond.wait()
        log(name)
tasks = [create_task(child(name)) for name in "abcdef"]
await turns(2)
async with cond:
    cond.notify()
    log("notified one")
await sleep(1)
async with cond:
    cond.notify(2)
await sleep(1)
async with cond:
    cond.notify_all()
    log("notified all")
await gather(*tasks)
log(cond.locked())
