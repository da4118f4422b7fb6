# Releasing a lock that is not held is an error.
lock = Lock()
try:
    lock.release()
except RuntimeError as err:
    log(kind(err))
await lock.acquire()
log(lock.locked())
lock.release()
log(lock.locked())
