# The inner cleanup raises an error, the outer one another: the last one stays.
async def child():
    try:
        try:
            await sleep(10)
        finally:
            raise Error("inner")
    finally:
        await sleep(1)
        raise Error("outer")
task = create_task(child())
await sleep(1)
task.cancel()
await wait([task])
log(task.cancelled(), task.exception(), now())
