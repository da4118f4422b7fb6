# Cancelled in a sleep: the error comes one pass later, at the same time.
async def child():
    try:
        await sleep(10)
        log("not reached")
    finally:
        log("finally", now())
task = create_task(child())
await sleep(2)
log(task.cancel(), task.done())
await sleep(0)
log(task.done())
await wait([task])
log(task.cancelled(), now())
