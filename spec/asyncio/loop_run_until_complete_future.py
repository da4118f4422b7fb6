# Runs until a future is done; one that is done already takes a pass of the loop.
fut = loop.create_future()
loop.call_later(1, fut.set_result, "set")
log(loop.run_until_complete(fut), now())
loop.call_soon(log, "a pass")
log(loop.run_until_complete(fut))
fut = loop.create_future()
fut.cancel()
try:
    loop.run_until_complete(fut)
except CancelledError as err:
    log(kind(err))
