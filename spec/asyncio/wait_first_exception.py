# The first error is enough; a cancelled one is no error.
async def bad():
    await sleep(2)
    raise Error("bad")
tasks = [create_task(c, name=n) for c, n in (
    (sleep(1), "good"), (bad(), "bad"), (sleep(10), "cancelled"), (sleep(5), "slow"))]
loop.call_later(1.5, tasks[2].cancel)
done, pending = await wait(tasks, return_when=FIRST_EXCEPTION)
log(done, pending, now())
log(tasks[1].exception(), tasks[2].cancelled())
done, pending = await wait(pending, return_when=FIRST_EXCEPTION)
log(done, pending, now())
