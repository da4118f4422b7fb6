# The last one ends in the pass of the time-out, before it.
fut = loop.create_future()
loop.call_later(1, fut.set_result, "value")
done, pending = await wait([fut], timeout=1)
log(len(done), len(pending), now())
