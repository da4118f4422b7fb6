# join waits until task_done was called for each item; too many calls are an error.
queue = Queue()
async def worker():
    while True:
        item = await queue.get()
        await sleep(item)
        log("done", item, now())
        queue.task_done()
async def joiner():
    await queue.join()
    log("joined", now())
await queue.join()
log("nothing to wait for")
for item in 1, 2, 3:
    queue.put_nowait(item)
w, j = create_task(worker()), create_task(joiner())
await j
w.cancel()
await wait([w])
try:
    queue.task_done()
except ValueError as err:
    log(kind(err))
