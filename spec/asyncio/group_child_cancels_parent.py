# A task of the group cancels the one who waits for the group: both are cancelled.
async def child(parent):
    await sleep(1)
    parent.cancel("by child")
    try:
        await sleep(10)
    finally:
        log("child", now())
async def parent():
    try:
        async with TaskGroup() as group:
            group.create_task(child(current_task()))
    except BaseException as err:
        log(err, current_task().cancelling())
        raise
task = create_task(parent())
await wait([task])
log(task.cancelled(), now())
