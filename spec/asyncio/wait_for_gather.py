# wait_for of a gather: past the time-out all children are cancelled.
async def child(name, delay):
    try:
        await sleep(delay)
        log(name, "ends", now())
    except CancelledError:
        log(name, "cancelled", now())
        raise
try:
    await wait_for(gather(child("a", 1), child("b", 5), child("c", 9)), 3)
except TimeoutError:
    log("timed out", now())
