# A cancellation goes down a chain of awaits and comes back up.
async def leaf():
    try:
        await sleep(10)
    finally:
        log("leaf")
async def mid():
    try:
        await tasks[0]
    finally:
        log("mid")
async def top():
    try:
        await tasks[1]
    finally:
        log("top")
tasks = [create_task(f()) for f in (leaf, mid, top)]
await sleep(1)
tasks[2].cancel("down")
log([t.cancelling() for t in tasks])
await wait(tasks)
log([t.cancelled() for t in tasks])
