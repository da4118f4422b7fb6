# A getter that is cancelled when its item is there already: the next one gets it.
queue = Queue()
async def getter(name):
    try:
        log(name, await queue.get())
    except CancelledError:
        log(name, "cancelled")
        raise
tasks = [create_task(getter(name)) for name in "ab"]
await sleep(0)
queue.put_nowait("item")
tasks[0].cancel()
await wait(tasks)
log(queue.qsize(), tasks[0].cancelled())
