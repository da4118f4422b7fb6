# Results and errors in the order of the arguments, whatever the order of ending.
async def child(name, delay, fails):
    await sleep(delay)
    log(name)
    if fails:
        raise Error(name)
    return name
log(await gather(child("a", 3, False), child("b", 2, True), child("c", 1, False),
                 return_exceptions=True))
