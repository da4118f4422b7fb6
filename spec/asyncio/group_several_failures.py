# Errors of siblings, also those raised by the cancellation, are all in the group, in order.
async def bad(name, delay):
    await sleep(delay)
    raise Error(name)
async def worse():
    try:
        await sleep(10)
    finally:
        raise Error("while cancelled")
try:
    async with TaskGroup() as group:
        group.create_task(worse())
        group.create_task(bad("one", 1))
        group.create_task(bad("two", 1))
except ExceptionGroup as err:
    log(err, len(err.exceptions))
