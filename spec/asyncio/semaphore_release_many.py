# Several units released at once wake several waiters, in order, and no newcomer between them.
sem = Semaphore(0)
async def child(name):
    await sem.acquire()
    log(name)
tasks = [create_task(child(name)) for name in "abc"]
await sleep(0)
sem.release()
sem.release()
tasks.append(create_task(child("newcomer")))
await turns(5)
sem.release()
await turns(5)
sem.release()
await wait(tasks)
