# set wakes everybody who waits, in order; clear right after it changes nothing for them.
event = Event()
async def child(name):
    log(name, await event.wait(), event.is_set())
tasks = [create_task(child(name)) for name in "abc"]
await sleep(0)
event.set()
event.clear()
late = create_task(child("late"))
await turns(3)
log(late.done())
event.set()
await gather(late, *tasks)
log(await event.wait())
