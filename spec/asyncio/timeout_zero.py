# A deadline that has passed: the block runs to its first wait; one that never waits is not hit.
for delay in 0, -1:
    try:
        async with timeout(delay):
            log("inside")
            await sleep(10)
    except TimeoutError as err:
        log(kind(err), now())
async with timeout(0) as cm:
    log("no wait inside")
log(cm.expired())
await sleep(1)
log("end")
