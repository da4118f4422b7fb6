# Futures that are set one after the other wake their tasks in that order.
futures = [loop.create_future() for _ in range(3)]
async def watcher(i):
    log(i, await futures[i])
tasks = [create_task(watcher(i)) for i in range(3)]
await sleep(0)
for i in 2, 0, 1:
    futures[i].set_result("value")
create_task(sleep(0)).add_done_callback(lambda t: log("later"))
await gather(*tasks)
await turns(3)
