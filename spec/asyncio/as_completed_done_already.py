# Those that are done already come at once.
tasks = [create_task(sleep(d, d)) for d in (3, 1, 2)]
await sleep(1.5)
for next_one in as_completed(tasks):
    log(await next_one, now())
for next_one in as_completed([tasks[0]], timeout=1):
    log(await next_one, now())
for next_one in as_completed([]):
    log("none")
