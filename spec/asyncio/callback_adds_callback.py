# A callback that adds another, and one that starts a task: both come in a later pass.
fut = loop.create_future()
async def child():
    log("task")
def first(f):
    log("first")
    f.add_done_callback(lambda g: log("added"))
    tasks.append(create_task(child()))
tasks = []
fut.add_done_callback(first)
fut.add_done_callback(lambda f: log("second"))
fut.cancel()
await sleep(0)
log("one pass")
await sleep(0)
