# The canceller's timer is armed first, for the same time: the sleep is cancelled.
async def child():
    try:
        await sleep(1)
        log("slept")
    except CancelledError:
        log("cancelled", now())
        raise
loop.call_later(1, lambda: log("cancel", task.cancel()))
task = create_task(child())
await wait([task])
log(task.cancelled())
