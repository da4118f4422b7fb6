# After uncancel a task goes on, and can be cancelled again.
async def child():
    for i in range(2):
        try:
            await sleep(10)
        except CancelledError as err:
            log(i, err, current_task().cancelling(), current_task().uncancel())
    await sleep(1)
    return "end"
task = create_task(child())
await sleep(1)
task.cancel("a")
await sleep(1)
task.cancel("b")
log(await task, task.cancelling(), now())
