# A loop callback and a done callback run outside of any task.
task = create_task(sleep(0))
task.add_done_callback(lambda t: log("done callback", current_task()))
loop.call_soon(lambda: log("callback", current_task()))
await task
await sleep(0)
log(current_task() is not None)
