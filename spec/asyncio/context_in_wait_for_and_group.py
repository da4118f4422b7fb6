# Those that are started by gather, wait_for and groups have a copy as well.
var = ContextVar("var", default="default")
async def child(name):
    log(name, var.get())
    var.set(name)
var.set("main")
await gather(child("gather"))
await shield(child("shield"))
async with TaskGroup() as group:
    group.create_task(child("group"))
log(var.get())
