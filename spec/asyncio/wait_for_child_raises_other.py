# One that turns its cancellation into another error: that error is raised.
async def child():
    try:
        await sleep(10)
    finally:
        raise Error("other")
try:
    await wait_for(child(), 1)
except Exception as err:
    log(err, now())
