-- A waiter that is cancelled leaves; the others wait on for somebody in its place.
local barrier = neap.Barrier(3)
local function child(name)
  local ok, err = pcall(barrier.wait, barrier)
  if ok then log(name, "passed", now()) return end
  log(name, "cancelled", barrier:broken())
  error(err, 0)
end
local tasks = { neap.create_task(child, "a"), neap.create_task(child, "b") }
neap.sleep(1)
tasks[1]:cancel()
neap.sleep(1)
log(barrier:n_waiting(), barrier:broken())
tasks[3], tasks[4] = neap.create_task(child, "c"), neap.create_task(child, "d")
neap.wait(tasks)
log(barrier:n_waiting(), barrier:broken())
