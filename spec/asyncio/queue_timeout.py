# A time-out of get: no item is lost.
queue = Queue()
async def getter(name, delay):
    try:
        log(name, await wait_for(queue.get(), delay), now())
    except TimeoutError:
        log(name, "timed out", now())
tasks = [create_task(getter("a", 1)), create_task(getter("b", 5))]
await sleep(2)
queue.put_nowait("item")
await wait(tasks)
log(queue.qsize())
