# A cancellation goes through nested gathers.
async def leaf(name):
    try:
        await sleep(10)
    finally:
        log(name, now())
async def parent():
    await gather(gather(leaf("a"), leaf("b")), leaf("c"))
task = create_task(parent())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled())
