-- Notifying more than there are, and nobody: nothing is kept for later.
local cond = neap.Condition()
local function child(name)
  local _held <close> = cond:acquire()
  cond:wait()
  log(name)
end
local function notify(n)
  local _held <close> = cond:acquire()
  if n then cond:notify(n) else cond:notify_all() end
end
notify(1)
notify(nil)
notify(100)
local tasks = { neap.create_task(child, "a"), neap.create_task(child, "b") }
neap.sleep(1)
notify(0)
neap.sleep(1)
log { tasks[1]:done(), tasks[2]:done() }
notify(100)
neap.wait(tasks)
