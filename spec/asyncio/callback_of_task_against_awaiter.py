# The end of a task: its callbacks and those who await it, in the order in which they came.
async def child():
    await sleep(1)
task = create_task(child())
async def watcher():
    await task
    log("watcher")
task.add_done_callback(lambda t: log("before"))
w = create_task(watcher())
await sleep(0)
task.add_done_callback(lambda t: log("after"))
await w
