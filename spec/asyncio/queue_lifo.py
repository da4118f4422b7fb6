# A LIFO queue gives the last item first, and is bounded like the others.
queue = LifoQueue(3)
async def producer():
    for n in range(5):
        await queue.put(n)
        log("put", n)
task = create_task(producer())
await sleep(1)
for _ in range(5):
    log("got", await queue.get())
    await sleep(1)
await task
