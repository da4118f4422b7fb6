# An error of a callback goes to the exception handler; the others run.
def bad():
    raise Error("in a callback")
loop.call_soon(bad)
loop.call_soon(log, "next")
loop.call_later(1, bad)
await sleep(2)
log("end")
