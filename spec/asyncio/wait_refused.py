# An empty list and an unknown mode are errors.
try:
    await wait([])
except ValueError as err:
    log(kind(err))
try:
    await wait([create_task(sleep(0))], return_when="some")
except ValueError as err:
    log(kind(err))
