# Waiters cancelled before and after set: the others are woken.
event = Event()
async def child(name):
    try:
        await event.wait()
        log(name, "woken")
    except CancelledError:
        log(name, "cancelled")
        raise
tasks = [create_task(child(name)) for name in "abcd"]
await sleep(0)
tasks[1].cancel()
event.set()
tasks[2].cancel()
await wait(tasks)
