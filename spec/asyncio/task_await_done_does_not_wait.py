# Awaiting what is done lets nobody else run.
task = create_task(sleep(0, "value"))
await task
loop.call_soon(log, "callback")
log(await task)
log("before the callback")
await sleep(0)
