# A getter that is cancelled while it waits takes no item.
queue = Queue()
async def getter(name):
    try:
        log(name, await queue.get())
    except CancelledError:
        log(name, "cancelled")
        raise
tasks = [create_task(getter(name)) for name in "abc"]
await sleep(0)
tasks[0].cancel()
await turns(2)
queue.put_nowait("item")
await turns(2)
queue.put_nowait("second")
await wait(tasks)
log(queue.qsize())
