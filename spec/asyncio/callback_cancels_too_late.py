# A done callback that was added after the task began to wait comes too late to cancel it.
fut = loop.create_future()
async def child():
    log("got", await fut)
task = create_task(child())
await sleep(0)
fut.add_done_callback(lambda f: log("cancel", task.cancel()))
fut.set_result("value")
await wait([task])
log(task.cancelled())
