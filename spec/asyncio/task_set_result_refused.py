# A task's outcome is its function's alone; result and exception of a pending one are refused.
task = create_task(sleep(1, "value"))
for call in (lambda: task.set_result(1)), (lambda: task.set_exception(Error("x"))):
    try:
        call()
    except RuntimeError as err:
        log("refused", kind(err))
for look in task.result, task.exception:
    try:
        look()
    except InvalidStateError as err:
        log(kind(err))
log(await task, task.exception())
