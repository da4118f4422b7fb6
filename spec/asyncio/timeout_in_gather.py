# A time-out around a gather cancels its children.
async def child(name):
    try:
        await sleep(10)
    finally:
        log(name, now())
try:
    async with timeout(1):
        await gather(child("a"), child("b"))
except TimeoutError:
    log("timed out", now())
await sleep(1)
