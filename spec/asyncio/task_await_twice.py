# Several may await the same task, before and after its end; its error reaches each.
async def child():
    await sleep(1)
    raise Error("once")
task = create_task(child())
async def watcher(name):
    try:
        await task
    except Error as err:
        log(name, err, err is task.exception())
await gather(watcher("a"), watcher("b"))
await watcher("late")
