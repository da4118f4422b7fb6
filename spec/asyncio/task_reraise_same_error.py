# A task that awaits a failed one fails with the very same error; only the last is unseen.
async def inner():
    raise Error("deep")
async def middle():
    await task_in
task_in, task_mid = create_task(inner()), None
task_mid = create_task(middle())
await wait([task_mid])
log(task_mid.exception() is task_in.exception())
