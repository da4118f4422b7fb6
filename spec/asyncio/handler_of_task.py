# The context of a task's unseen error has the task, also under future.
def handler(_, context):
    log(context["message"], context["exception"], context["future"])
async def child():
    raise Error("unseen")
loop.set_exception_handler(handler)
task = create_task(child(), name="bad task")
await sleep(1)
del task
gc.collect()
log("collected")
