-- The only one in line is cancelled after the release: the lock is free for others.
local lock = neap.Lock()
lock:acquire()
local task = neap.create_task(lock.acquire, lock)
neap.sleep(0)
lock:release()
task:cancel()
log(lock:locked())
do
  local _held <close> = lock:acquire()
  log("main has it", task:done())
end
neap.wait { task }
log(task:cancelled(), lock:locked())
