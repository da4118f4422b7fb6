# Names are set and read; current_task is the running one.
async def child():
    log(current_task().get_name(), current_task() is task)
    current_task().set_name("renamed")
task = create_task(child(), name="first name")
log(task.get_name())
await task
log(task.get_name(), current_task() is task)
task.set_name(5)
log(task.get_name())
