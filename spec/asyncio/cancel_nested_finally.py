# Cleanup of several levels runs from the inside out, each of them may wait.
async def child():
    try:
        try:
            try:
                await sleep(10)
            finally:
                await sleep(1)
                log("inner", now())
        finally:
            await sleep(1)
            log("middle", now())
    finally:
        await sleep(1)
        log("outer", now())
task = create_task(child())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled(), now())
