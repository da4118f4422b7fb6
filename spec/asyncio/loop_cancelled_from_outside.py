# A task that is cancelled between two runs gets the error in the next one.
async def child():
    try:
        await sleep(10)
    finally:
        log("finally", now())
task = loop.create_task(child())
loop.call_later(1, loop.stop)
loop.run_forever()
log(task.cancel("between"), task.done())
try:
    loop.run_until_complete(task)
except CancelledError as err:
    log(err)
