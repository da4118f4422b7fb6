# The result, the error and the cancellation of what is shielded come through.
async def child(how):
    await sleep(1)
    if how == "error":
        raise Error(how)
    if how == "cancel":
        current_task().cancel("inside")
        await sleep(1)
    return how
for how in "result", "error", "cancel":
    try:
        log(await shield(child(how)), now())
    except (Error, CancelledError) as err:
        log("raised", kind(err), now(), current_task().cancelling())
fut = loop.create_future()
fut.set_result("done already")
log(await shield(fut))
