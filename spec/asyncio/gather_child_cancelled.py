# A child that is cancelled by others is an error of the gather; the siblings go on.
async def sibling():
    await sleep(2)
    log("sibling", now())
child = create_task(sleep(10))
async def parent():
    try:
        await gather(child, sibling())
    except CancelledError as err:
        log("parent", kind(err), current_task().cancelling(), now())
    await sleep(3)
task = create_task(parent())
await sleep(1)
child.cancel()
await task
log(task.cancelled())
