-- Releasing a lock that is not held is an error.
local lock = neap.Lock()
local _, err = pcall(lock.release, lock)
log(kind(err))
lock:acquire()
log(lock:locked())
lock:release()
log(lock:locked())
