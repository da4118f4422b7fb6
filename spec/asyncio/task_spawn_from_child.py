# Tasks made by a task run after those that were ready already.
async def leaf(name):
    log(name)
async def spawner(name):
    log("spawner", name)
    tasks.append(create_task(leaf(name + "1")))
    tasks.append(create_task(leaf(name + "2")))
tasks = []
await gather(spawner("a"), spawner("b"))
await sleep(0)
