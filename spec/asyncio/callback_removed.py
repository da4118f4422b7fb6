# Removing a callback removes all of its kind, unless they are queued already.
fut = loop.create_future()
def one(f):
    log("one")
def two(f):
    log("two")
for callback in one, two, one:
    fut.add_done_callback(callback)
log(fut.remove_done_callback(one), fut.remove_done_callback(one))
fut.add_done_callback(one)
fut.set_result(None)
log(fut.remove_done_callback(two))
await sleep(0)
