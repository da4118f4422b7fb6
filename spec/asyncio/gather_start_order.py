# Children start in the order of the arguments, after what was ready before.
async def child(name):
    log("start", name)
    await sleep(0)
    log("end", name)
loop.call_soon(log, "callback")
task = create_task(child("before"))
await gather(child("a"), child("b"), task)
log("gathered")
