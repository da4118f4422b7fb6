# An empty list and an unknown mode are errors.
try:
    await wait([])
except ValueError as err:
    log(kind(err))
task = create_task(sleep(0))
try:
    await wait([task], return_when="some")
except ValueError as err:
    log(kind(err))
await task
