# The result is set in the pass of the time-out, before it: the result counts.
fut = loop.create_future()
loop.call_later(1, fut.set_result, "value")
try:
    log(await wait_for(fut, 1), now())
except TimeoutError as err:
    log(kind(err), now())
log(fut.result(), current_task().cancelling())
