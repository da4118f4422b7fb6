# What is done already: nothing to wait for in each of the modes.
good, bad = loop.create_future(), loop.create_future()
good.set_result(1)
bad.set_exception(Error("bad"))
task = create_task(sleep(1), name="task")
for when in FIRST_COMPLETED, FIRST_EXCEPTION:
    done, pending = await wait([good, bad, task], return_when=when)
    log(len(done), len(pending), now())
done, pending = await wait([good, task], return_when=ALL_COMPLETED)
log(len(done), len(pending), now(), bad.exception())
