# A bounded semaphore refuses to be released above its start; negative starts are refused.
sem = BoundedSemaphore(2)
await sem.acquire()
sem.release()
try:
    sem.release()
except ValueError as err:
    log(kind(err))
log(sem.locked())
for make in Semaphore, BoundedSemaphore:
    try:
        make(-1)
    except ValueError as err:
        log(kind(err))
