# Cancelled from outside: the awaited one is cancelled first, no TimeoutError.
async def child():
    try:
        await sleep(10)
    finally:
        log("child cancelled", now())
async def parent():
    try:
        await wait_for(child(), 5)
    except BaseException as err:
        log("parent", err, now())
        raise
task = create_task(parent())
await sleep(1)
task.cancel("outside")
await wait([task])
log(task.cancelled())
await sleep(10)
