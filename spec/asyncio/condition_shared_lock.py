# Two conditions on one lock: a notification reaches the waiters of its own alone.
lock = Lock()
one, two = Condition(lock), Condition(lock)
async def child(name, cond):
    async with lock:
        await cond.wait()
        log(name, lock.locked())
tasks = [create_task(child("one", one)), create_task(child("two", two))]
await turns(2)
async with two:
    two.notify_all()
await sleep(1)
async with one:
    log(one.locked(), two.locked())
    one.notify_all()
await wait(tasks)
