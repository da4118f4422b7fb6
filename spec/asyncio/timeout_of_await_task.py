# A time-out around a plain await of a task cancels that task.
async def inner():
    try:
        await sleep(10)
    finally:
        log("inner", now())
task = create_task(inner())
try:
    async with timeout(1):
        await task
except TimeoutError:
    log("timed out", task.cancelled(), now())
