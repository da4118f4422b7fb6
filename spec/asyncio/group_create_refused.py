# No task can be added to a group that was left.
async with TaskGroup() as group:
    pass
coro = sleep(0)
try:
    group.create_task(coro)
except RuntimeError as err:
    log(kind(err))
coro.close()
