# The first that ends is enough; the others go on.
async def child(delay):
    await sleep(delay)
    log(current_task().get_name(), now())
tasks = [create_task(child(d), name=n) for n, d in (("a", 2), ("b", 1), ("c", 3))]
done, pending = await wait(tasks, return_when=FIRST_COMPLETED)
log(done, pending, now())
done, pending = await wait(pending, return_when=FIRST_COMPLETED)
log(done, pending, now())
await wait(pending)
