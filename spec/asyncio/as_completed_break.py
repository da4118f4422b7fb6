# Leaving the loop early leaves the others alone.
tasks = [create_task(sleep(d, d)) for d in (2, 1, 3)]
for next_one in as_completed(tasks):
    log(await next_one, now())
    if now() == 2:
        break
await sleep(5)
log([t.result() for t in tasks])
