# A time-out around a group: the tasks are cancelled, and TimeoutError leaves, not a group.
async def child(name):
    try:
        await sleep(10)
    finally:
        log(name, now())
try:
    async with timeout(1):
        async with TaskGroup() as group:
            group.create_task(child("child"))
except TimeoutError as err:
    log(kind(err), now(), current_task().cancelling())
