# Each child has a time-out of its own.
async def child(name, delay, patience):
    try:
        await wait_for(sleep(delay), patience)
        return name + " ends"
    except TimeoutError:
        return name + " times out"
log(await gather(child("a", 1, 2), child("b", 3, 2), child("c", 2.5, 3)), now())
