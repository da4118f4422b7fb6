-- A waiter is cancelled before it gets its unit: the next gets it.
local sem = neap.Semaphore(0)
local function child(name)
  local ok, err = pcall(sem.acquire, sem)
  log(name, ok and "got it" or "cancelled")
  if not ok then error(err, 0) end
end
local tasks = {}
for name in ("abc"):gmatch "." do tasks[#tasks + 1] = neap.create_task(child, name) end
neap.sleep(0)
tasks[1]:cancel()
turns(2)
sem:release()
turns(4)
log { tasks[1]:done(), tasks[2]:done(), tasks[3]:done() }
sem:release()
neap.wait(tasks)
log(sem:locked())
