# The first error is raised at once; the others go on, and later errors are not reported.
async def child(name, delay, fails):
    await sleep(delay)
    log(name, now())
    if fails:
        raise Error(name)
    return name
try:
    await gather(child("a", 3, False), child("b", 1, True), child("c", 2, True))
except Error as err:
    log(err, now())
await sleep(5)
log("end")
