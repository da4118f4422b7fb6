# The message reaches the one who awaits; afterwards result and exception raise as well.
task = create_task(sleep(10))
await sleep(0)
task.cancel("the reason")
try:
    await task
except CancelledError as err:
    log(err)
for look in task.result, task.exception:
    try:
        look()
    except CancelledError as err:
        log(kind(err))
