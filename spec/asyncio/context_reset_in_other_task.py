# A token belongs to the context in which it was made.
var = ContextVar("var", default="default")
token = var.set("main")
async def child():
    try:
        var.reset(token)
    except ValueError as err:
        log(kind(err), var.get())
await create_task(child())
var.reset(token)
log(var.get())
