-- After a release a newcomer does not get the lock before the one who waits.
local lock = neap.Lock()
local function child(name)
  local _held <close> = lock:acquire()
  log(name)
end
lock:acquire()
local a = neap.create_task(child, "waiter")
neap.sleep(0)
local b = neap.create_task(child, "newcomer")
lock:release()
log(lock:locked())
do
  local _held <close> = lock:acquire()
  log "main"
end
neap.gather(a, b)
