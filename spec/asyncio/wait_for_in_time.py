# What ends in time gives its result or its error.
async def child(delay):
    await sleep(delay)
    if delay == 2:
        raise Error("bad")
    return "value"
log(await wait_for(child(1), 5), now())
try:
    await wait_for(child(2), 5)
except Error as err:
    log(err, now())
log(await wait_for(child(1), None), now())
