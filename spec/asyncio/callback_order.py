# Done callbacks and awaiting tasks are called in the order in which they came.
fut = loop.create_future()
async def watcher(name):
    log(name, await fut)
fut.add_done_callback(lambda f: log("callback 1", f.result()))
a = create_task(watcher("task a"))
await sleep(0)
fut.add_done_callback(lambda f: log("callback 2", f.result()))
b = create_task(watcher("task b"))
await sleep(0)
fut.add_done_callback(lambda f: log("callback 3", f.result()))
fut.set_result("value")
log("set")
await gather(a, b)
