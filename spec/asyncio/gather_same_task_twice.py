# The same task twice is awaited once and its result given twice.
async def child():
    log("runs")
    await sleep(1)
    return "value"
task = create_task(child())
log(await gather(task, task, sleep(0, "z")))
