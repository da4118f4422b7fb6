-- Waiters at the front, in the middle and at the end are cancelled, some after a release.
local sem = neap.Semaphore(0)
local function child(name)
  local ok, err = pcall(sem.acquire, sem)
  log(name, ok and "in" or "cancelled")
  if not ok then error(err, 0) end
end
local tasks, list = {}, {}
for name in ("abcdef"):gmatch "." do
  tasks[name] = neap.create_task(child, name)
  list[#list + 1] = tasks[name]
end
neap.sleep(0)
tasks.c:cancel()
sem:release()
sem:release()
tasks.a:cancel()
tasks.f:cancel()
neap.sleep(1)
local left = {}
for name in ("abcdef"):gmatch "." do
  if not tasks[name]:done() then left[#left + 1] = name end
end
log(left)
sem:release()
sem:release()
neap.wait(list)
log(sem:locked())
