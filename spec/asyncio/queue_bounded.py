# A full queue holds its producers back, in order.
queue = Queue(2)
async def producer(name):
    for n in range(2):
        await queue.put(f"{name}{n}")
        log("put", f"{name}{n}", now())
tasks = [create_task(producer(name)) for name in "abc"]
await sleep(1)
log(queue.full(), queue.qsize())
for _ in range(6):
    log("got", await queue.get())
    await sleep(1)
await gather(*tasks)
