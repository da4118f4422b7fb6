# A done callback has the context of where it was added, not that of the task.
var = ContextVar("var", default="default")
async def child():
    var.set("child")
async def adder():
    var.set("adder")
    task.add_done_callback(lambda t: log("callback", var.get()))
task = create_task(child())
await create_task(adder())
await task
await sleep(0)
log(var.get())
