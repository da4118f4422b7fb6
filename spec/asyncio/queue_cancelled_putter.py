# A putter that is cancelled puts nothing, before and after there is room.
queue = Queue(1)
async def putter(name):
    try:
        await queue.put(name)
        log(name, "put")
    except CancelledError:
        log(name, "cancelled")
        raise
queue.put_nowait("first")
tasks = [create_task(putter(name)) for name in "abc"]
await sleep(0)
tasks[0].cancel()
await turns(2)
log(queue.get_nowait())
tasks[1].cancel()
await wait(tasks)
log(queue.get_nowait(), queue.empty())
