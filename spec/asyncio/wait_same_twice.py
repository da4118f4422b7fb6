# The same task twice in a list counts once.
task = create_task(sleep(1))
done, pending = await wait([task, task, create_task(sleep(2))], timeout=1.5)
log(len(done), len(pending), now())
await sleep(1)
