# A task that is done cannot be cancelled, whatever its end was.
async def returns():
    return 1
async def raises():
    raise Error("x")
a, b, c = create_task(returns()), create_task(raises()), create_task(sleep(1))
await sleep(0)
c.cancel()
await wait([a, b, c])
for task in a, b, c:
    log(task.cancel(), task.cancelling(), task.cancelled())
log(b.exception())
