# Sleeps end in the order of their deadlines, equal ones in the order of arming.
async def child(name, delay):
    await sleep(delay)
    log(name, now())
await gather(child("a", 2), child("b", 1), child("c", 2), child("d", 0.5), child("e", 1))
