# What is due joins the queue behind what is ready already.
def at_one():
    log("first timer")
    loop.call_soon(log, "soon, from the first timer")
loop.call_later(1, at_one)
loop.call_later(1, log, "second timer")
await sleep(2)
