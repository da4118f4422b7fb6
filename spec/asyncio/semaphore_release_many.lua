-- Several units released at once wake several waiters, in order, and no newcomer between them.
local sem = neap.Semaphore(0)
local function child(name)
  sem:acquire()
  log(name)
end
local tasks = {}
for name in ("abc"):gmatch "." do tasks[#tasks + 1] = neap.create_task(child, name) end
neap.sleep(0)
sem:release()
sem:release()
tasks[4] = neap.create_task(child, "newcomer")
turns(5)
sem:release()
turns(5)
sem:release()
neap.wait(tasks)
