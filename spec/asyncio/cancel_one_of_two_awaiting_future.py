# The same with a plain future: it is cancelled for both, and cannot be set any more.
fut = loop.create_future()
async def outer(name):
    try:
        await fut
    except CancelledError:
        log(name, current_task().cancelling())
        raise
a, b = create_task(outer("a")), create_task(outer("b"))
await sleep(1)
a.cancel()
log(fut.cancelled())
await wait([a, b])
log(a.cancelled(), b.cancelled())
