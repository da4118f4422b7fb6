# A block that ends in time leaves nothing behind.
async with timeout(2) as cm:
    await sleep(1)
log(cm.expired(), now())
await sleep(5)
log(now(), current_task().cancelling())
async with timeout(None) as cm:
    await sleep(5)
    log(cm.when())
log(cm.expired())
