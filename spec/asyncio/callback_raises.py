# An error in a callback is reported, and the next callbacks run.
fut = loop.create_future()
def bad(f):
    raise Error("bad callback")
fut.add_done_callback(bad)
fut.add_done_callback(lambda f: log("next"))
fut.set_result("value")
log(await fut)
await sleep(0)
log("end")
