# One who joins is cancelled: the others are not affected.
queue = Queue()
queue.put_nowait(1)
async def joiner(name):
    await queue.join()
    log(name, "joined")
a, b = create_task(joiner("a")), create_task(joiner("b"))
await sleep(0)
a.cancel()
await sleep(1)
queue.put_nowait(2)
queue.task_done()
await turns(3)
log(b.done())
queue.task_done()
await b
log(a.cancelled(), queue.qsize())
