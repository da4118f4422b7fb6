# A callback added to a future that is done is called by the loop, not at once.
fut = loop.create_future()
fut.set_result(1)
fut.add_done_callback(lambda f: log("callback"))
log("added")
await sleep(0)
log("end")
