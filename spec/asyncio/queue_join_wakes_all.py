# All who join are woken by the last task_done, in the order in which they came.
queue = Queue()
queue.put_nowait(1)
async def joiner(name):
    await queue.join()
    log(name, now())
tasks = [create_task(joiner(name)) for name in "abc"]
await sleep(1)
queue.get_nowait()
log("got")
queue.task_done()
await gather(*tasks)
queue.put_nowait(2)
task = create_task(joiner("again"))
await sleep(1)
log(task.done())
queue.task_done()
await task
