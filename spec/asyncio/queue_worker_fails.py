# A worker that fails leaves its item undone: join goes on waiting.
queue = Queue()
for n in range(3):
    queue.put_nowait(n)
async def worker():
    while True:
        n = await queue.get()
        if n == 1:
            raise Error("worker")
        queue.task_done()
task = create_task(worker())
try:
    await wait_for(queue.join(), 2)
except TimeoutError:
    log("join times out", now(), queue.qsize(), task.exception())
queue.get_nowait()
queue.task_done()
queue.task_done()
await queue.join()
log("joined")
