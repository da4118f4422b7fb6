# More than it takes: they pass in rounds, in the order in which they came.
barrier = Barrier(2)
async def child(name):
    await barrier.wait()
    log(name, now())
tasks = [create_task(child(name)) for name in "abcde"]
await sleep(1)
log(sum(t.done() for t in tasks), barrier.n_waiting)
await barrier.wait()
await wait(tasks)
