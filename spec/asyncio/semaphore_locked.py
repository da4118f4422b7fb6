# locked() is whether acquire would have to wait.
sem = Semaphore(1)
log(sem.locked())
await sem.acquire()
log(sem.locked())
task = create_task(sem.acquire())
await sleep(0)
sem.release()
log(sem.locked())
await task
log(sem.locked())
sem.release()
sem.release()
log(sem.locked())
