# After the first error the gather is over: cancelling the caller later spares the children.
async def bad():
    await sleep(1)
    raise Error("first")
async def good():
    try:
        await sleep(3)
        log("good ends", now())
    except CancelledError:
        log("good cancelled")
        raise
async def parent():
    try:
        await gather(bad(), good())
    except Error as err:
        log(err)
    await sleep(10)
task = create_task(parent())
await sleep(2)
task.cancel()
await wait([task])
await sleep(5)
