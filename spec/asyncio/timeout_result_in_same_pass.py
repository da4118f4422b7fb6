# The result and the deadline in the same pass: whichever is first in the queue decides.
async def child(name):
    fut = loop.create_future()
    def set():
        if not fut.done():
            fut.set_result("value")
    if name == "result first":
        loop.call_later(1, set)
    try:
        async with timeout(1) as cm:
            if name == "deadline first":
                loop.call_later(1, set)
            log(name, await fut)
    except TimeoutError as err:
        log(name, kind(err))
    log(cm.expired(), fut.done(), fut.cancelled(), current_task().cancelling())
await create_task(child("result first"))
await create_task(child("deadline first"))
await sleep(1)
