# A priority queue gives the smallest item; getters that wait get theirs in order.
queue = PriorityQueue()
for item in 5, 1, 4, 1, 3:
    queue.put_nowait(item)
log([queue.get_nowait() for _ in range(5)])
async def getter(name):
    log(name, await queue.get())
tasks = [create_task(getter(name)) for name in "ab"]
await sleep(0)
queue.put_nowait(9)
queue.put_nowait(2)
await gather(*tasks)
