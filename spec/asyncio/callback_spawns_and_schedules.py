# A done callback that starts a task and schedules a callback: they run in that order, later.
async def child(name):
    log("task", name)
def done(fut):
    log("done", fut.result())
    tasks.append(create_task(child("from done")))
    loop.call_soon(log, "soon from done")
tasks, fut = [], loop.create_future()
fut.add_done_callback(done)
loop.call_soon(fut.set_result, 5)
loop.call_soon(log, "soon from main")
tasks.append(create_task(child("from main")))
await sleep(1)
