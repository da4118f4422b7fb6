# stop before the end of what run_until_complete runs is an error; it can be run on.
async def child():
    await sleep(2)
    return "end"
task = loop.create_task(child())
loop.call_later(1, loop.stop)
try:
    loop.run_until_complete(task)
except RuntimeError:
    log("stopped", now(), task.done())
log(loop.run_until_complete(task), now())
