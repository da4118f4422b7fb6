# One child fails and another is cancelled by others in the same pass: the first of them counts.
async def bad(fut):
    await fut
    raise Error("bad")
for first in "error", "cancel":
    fut, victim = loop.create_future(), create_task(sleep(10))
    both = [lambda: fut.set_result(None), victim.cancel]
    task = ensure_future(gather(bad(fut), victim))
    await sleep(1)
    for call in both if first == "error" else reversed(both):
        loop.call_soon(call)
    try:
        await task
    except (Error, CancelledError) as err:
        log(first, kind(err))
    await sleep(1)
