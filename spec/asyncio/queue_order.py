# First in, first out; getters are served in the order of arrival.
queue = Queue()
async def getter(name):
    for _ in range(2):
        log(name, await queue.get(), now())
tasks = [create_task(getter(name)) for name in "ab"]
await sleep(1)
for item in 1, 2, 3, 4:
    await queue.put(item)
    log("put", item, queue.qsize())
await gather(*tasks)
log(queue.empty(), queue.full(), queue.qsize())
