# Time-out 0 and what is not done: cancelled at once.
fut = loop.create_future()
for delay in 0, -1:
    fut = loop.create_future()
    try:
        await wait_for(fut, delay)
    except TimeoutError as err:
        log(kind(err), fut.cancelled(), now())
