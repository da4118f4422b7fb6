# Several items for several getters: each gets one, in the order of arrival.
queue = Queue()
async def getter(name):
    log(name, await queue.get())
tasks = [create_task(getter(name)) for name in "abc"]
await sleep(0)
for n in range(3):
    queue.put_nowait(n)
log(queue.qsize())
await gather(*tasks)
log(queue.qsize())
