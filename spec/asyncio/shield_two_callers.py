# Two shield the same task: one is cancelled, the other gets the result.
inner = create_task(sleep(3, "value"))
async def caller(name):
    try:
        log(name, await shield(inner), now())
    except CancelledError:
        log(name, "cancelled", now())
        raise
a, b = create_task(caller("a")), create_task(caller("b"))
await sleep(1)
a.cancel()
await wait([a, b])
log(inner.done(), inner.cancelling())
