# timeout_at takes a time of the loop's clock; one that has passed expires at the first wait.
try:
    async with timeout_at(start + 2) as cm:
        await sleep(10)
except TimeoutError:
    log("expired", now(), cm.when() - start)
try:
    async with timeout_at(start + 1) as cm:
        log("inside")
        await sleep(10)
except TimeoutError:
    log("expired", now())
async with timeout_at(None) as cm:
    await sleep(1)
log(cm.expired(), cm.when())
