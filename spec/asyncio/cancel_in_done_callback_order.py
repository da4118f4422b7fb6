# Cancelling several tasks in one step: their errors come in the order of cancelling.
async def child(name):
    try:
        await sleep(10)
    finally:
        log(name)
tasks = {name: create_task(child(name)) for name in "abcd"}
await sleep(0)
for name in "cadb":
    tasks[name].cancel()
await wait(tasks.values())
