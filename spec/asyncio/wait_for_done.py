# One that is done gives its result whatever the time-out.
fut = loop.create_future()
fut.set_result("value")
for delay in 0, -1, 5, None:
    log(await wait_for(fut, delay))
bad = loop.create_future()
bad.set_exception(Error("bad"))
try:
    await wait_for(bad, 0)
except Error as err:
    log(err, now())
