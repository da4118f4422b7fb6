-- A waiter that was cancelled takes no notification from the others.
local cond = neap.Condition()
local function child(name)
  local _held <close> = cond:acquire()
  cond:wait()
  log(name)
end
local tasks = {}
for name in ("abc"):gmatch "." do tasks[#tasks + 1] = neap.create_task(child, name) end
local function notify()
  local _held <close> = cond:acquire()
  cond:notify()
end
turns(2)
tasks[1]:cancel()
turns(2)
notify()
neap.sleep(1)
log { tasks[1]:done(), tasks[2]:done(), tasks[3]:done() }
notify()
neap.wait(tasks)
