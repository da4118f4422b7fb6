-- A waiter is cancelled after the release and before it runs: the unit goes on to the next.
local sem = neap.Semaphore(0)
local function child(name)
  local ok, err = pcall(sem.acquire, sem)
  log(name, ok and "got it" or "cancelled")
  if not ok then error(err, 0) end
end
local tasks = { neap.create_task(child, "a"), neap.create_task(child, "b") }
neap.sleep(0)
sem:release()
tasks[1]:cancel()
neap.wait(tasks)
log(tasks[1]:cancelled(), sem:locked())
