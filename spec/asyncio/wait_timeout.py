# A time-out of wait cancels nothing and raises nothing.
tasks = [create_task(sleep(d), name=f"{d}") for d in (1, 3)]
done, pending = await wait(tasks, timeout=2)
log(done, pending, now())
done, pending = await wait(tasks, timeout=0)
log(done, pending, now())
done, pending = await wait(tasks, timeout=5)
log(done, pending, now())
done, pending = await wait(tasks, timeout=5)
log(done, pending, now())
