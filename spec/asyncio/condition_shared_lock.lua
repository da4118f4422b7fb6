-- Two conditions on one lock: a notification reaches the waiters of its own alone.
local lock = neap.Lock()
local one, two = neap.Condition(lock), neap.Condition(lock)
local function child(name, cond)
  local _held <close> = lock:acquire()
  cond:wait()
  log(name, lock:locked())
end
local tasks = { neap.create_task(child, "one", one), neap.create_task(child, "two", two) }
turns(2)
do
  local _held <close> = two:acquire()
  two:notify_all()
end
neap.sleep(1)
do
  local _held <close> = one:acquire()
  log(one:locked(), two:locked())
  one:notify_all()
end
neap.wait(tasks)
