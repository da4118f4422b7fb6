# The awaited task turns its cancellation into another error: the outer gets that error.
async def inner():
    try:
        await sleep(10)
    finally:
        raise Error("from inner")
async def outer():
    await task_in
task_in = create_task(inner())
task_out = create_task(outer())
await sleep(1)
task_out.cancel()
await wait([task_out])
log(task_out.cancelled(), task_out.exception(), task_in.exception())
