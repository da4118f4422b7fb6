# ensure_future gives a task or a future back as it is, and makes a task of a function.
async def child():
    return "value"
task, fut = create_task(child()), loop.create_future()
log(ensure_future(task) is task, ensure_future(fut) is fut)
made = ensure_future(child())
log(made is task, await made, await task)
fut.cancel()
