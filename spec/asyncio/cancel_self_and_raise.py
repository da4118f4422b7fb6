# A task that cancels itself and then raises has raised.
async def child():
    current_task().cancel("self")
    raise Error("other")
task = create_task(child())
await wait([task])
log(task.cancelled(), task.exception())
