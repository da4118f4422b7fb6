# wait gives what is done and what is pending, and raises no error of theirs.
async def child(name, delay):
    current_task().set_name(name)
    await sleep(delay)
    if name == "bad":
        raise Error("not raised")
tasks = [create_task(child(n, d)) for n, d in (("a", 2), ("bad", 1), ("c", 3))]
done, pending = await wait(tasks)
log(done, pending, now())
log([t.exception() for t in tasks])
