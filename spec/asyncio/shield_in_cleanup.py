# A cleanup under a shield goes on when its caller is cancelled again.
async def cleanup():
    await sleep(2)
    log("cleanup ends", now())
async def child():
    try:
        await sleep(10)
    finally:
        try:
            await shield(cleanup())
        except CancelledError:
            log("interrupted", now())
            raise
task = create_task(child())
await sleep(1)
task.cancel()
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled(), now())
await sleep(5)
