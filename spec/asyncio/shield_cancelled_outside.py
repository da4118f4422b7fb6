# The caller is cancelled at once; what is shielded goes on.
async def child():
    await sleep(3)
    log("inner ends", now())
    return "value"
inner = create_task(child())
async def parent():
    try:
        await shield(inner)
    except CancelledError as err:
        log("outer", kind(err), now(), inner.cancelling())
        raise
task = create_task(parent())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled(), now())
log(await inner)
