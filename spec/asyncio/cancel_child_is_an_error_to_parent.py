# A cancelled child raises CancelledError in its parent, which is not cancelled itself.
async def parent():
    try:
        await child
    except CancelledError as err:
        log("parent", err, current_task().cancelling())
    await sleep(1)
    return "went on"
child = create_task(sleep(10))
task = create_task(parent())
await sleep(1)
child.cancel("only the child")
log(await task, now())
