# A callback that is scheduled by a callback runs in the next pass, not in this one.
def again(n):
    log("callback", n)
    if n < 3:
        loop.call_soon(again, n + 1)
loop.call_soon(again, 1)
loop.call_soon(log, "other")
await sleep(0)
log("one pass")
await sleep(1)
