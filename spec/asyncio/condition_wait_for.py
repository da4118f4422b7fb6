# wait_for asks the predicate with the lock held, after each notification, and gives its value.
cond, state = Condition(), {"n": 0}
def ready():
    log("asked", state["n"], cond.locked())
    return state["n"] >= 2 and "enough"
async def child():
    async with cond:
        log("got", await cond.wait_for(ready))
        log("at once", await cond.wait_for(ready))
task = create_task(child())
for n in range(1, 3):
    await sleep(1)
    async with cond:
        state["n"] = n
        cond.notify_all()
await task
