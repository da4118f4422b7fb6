# A child's error decides, then the caller is cancelled in the same pass.
gate = asyncio.Event()
async def bad():
    await gate.wait()
    raise Error("bad")
async def sibling():
    try:
        await sleep(5)
    except CancelledError:
        log("sibling cancelled", now())
        raise
async def caller():
    try:
        await gather(bad(), sibling())
    except BaseException as err:
        log("caller", err, now())
task = create_task(caller())
async def canceller():
    await gate.wait()
    log("cancel", task.cancel())
await sleep(0)
await sleep(0)
create_task(canceller())
await sleep(0)
gate.set()
await sleep(1)
log(task.done(), task.cancelling())
