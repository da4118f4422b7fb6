# A task starts with a copy of its creator's context, and its changes stay its own.
var = ContextVar("var", default="default")
async def child(name):
    log(name, var.get())
    var.set(name)
    await sleep(1)
    log(name, var.get())
var.set("main")
a = create_task(child("a"))
var.set("main, later")
b = create_task(child("b"))
await gather(a, b)
log(var.get())
