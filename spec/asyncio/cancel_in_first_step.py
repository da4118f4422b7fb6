# A task that cancels itself in its first step goes on to its next wait, which ends at once.
async def child():
    log("cancel", current_task().cancel("self"))
    log("goes on")
    try:
        await sleep(5)
    except CancelledError as err:
        log("in the wait", err, now())
        raise
task = create_task(child())
await wait([task])
log(task.cancelled(), now())
