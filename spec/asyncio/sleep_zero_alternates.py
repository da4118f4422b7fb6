# sleep(0) lets every ready task run once: tasks take turns.
async def child(name):
    for i in range(3):
        log(name, i)
        await sleep(0)
await gather(child("a"), child("b"), child("c"))
log(await sleep(0, "value"), await sleep(1, "later"), await sleep(-1, "negative"), now())
