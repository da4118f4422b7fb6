# The awaited one is cancelled by others: CancelledError, no TimeoutError, before its time.
child = create_task(sleep(10))
loop.call_later(1, child.cancel)
try:
    await wait_for(child, 5)
except BaseException as err:
    log(kind(err), now(), current_task().cancelling())
await sleep(1)
log("goes on")
