# A new task never runs inside create_task; tasks and callbacks share one queue.
async def child(name):
    log("task", name)
loop.call_soon(log, "callback 1")
a = create_task(child("a"))
loop.call_soon(log, "callback 2")
b = create_task(child("b"))
log("created")
await sleep(0)
log("after one pass", a.done(), b.done())
