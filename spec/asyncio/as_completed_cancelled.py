# Cancelling the caller does not touch the tasks.
tasks = [create_task(sleep(d, d)) for d in (1, 5)]
async def parent():
    for next_one in as_completed(tasks):
        try:
            log(await next_one, now())
        except CancelledError as err:
            log(err, now(), tasks[1].done(), tasks[1].cancelling())
            raise
task = create_task(parent())
await sleep(2)
task.cancel("outside")
await wait([task])
log(task.cancelled(), await tasks[1], now())
