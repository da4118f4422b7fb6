# Past the time-out the next one raises TimeoutError; nothing is cancelled.
tasks = [create_task(sleep(d, d)) for d in (1, 2, 5)]
try:
    for next_one in as_completed(tasks, timeout=3):
        log(await next_one, now())
except TimeoutError as err:
    log(kind(err), now(), [t.done() for t in tasks], tasks[2].cancelling())
log(await tasks[2], now())
