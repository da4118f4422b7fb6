# Two wait for the same tasks in different modes.
tasks = [create_task(sleep(d)) for d in (1, 2)]
async def waiter(name, mode):
    done, pending = await wait(tasks, return_when=mode)
    log(name, len(done), len(pending), now())
await gather(waiter("all", ALL_COMPLETED), waiter("first", FIRST_COMPLETED))
