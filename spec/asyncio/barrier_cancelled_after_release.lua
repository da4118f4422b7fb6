-- One is cancelled when all are there and it has not run yet: the others pass.
local barrier = neap.Barrier(3)
local function child(name)
  local ok, err = pcall(barrier.wait, barrier)
  log(name, ok and "passed" or "cancelled")
  if not ok then error(err, 0) end
end
local tasks = { neap.create_task(child, "a"), neap.create_task(child, "b") }
neap.sleep(0)
tasks[3] = neap.create_task(child, "c")
tasks[4] = neap.create_task(function() log("all there", tasks[1]:cancel()) end)
neap.wait(tasks)
local list = {}
for i, task in ipairs(tasks) do list[i] = task:cancelled() end
log(barrier:n_waiting(), barrier:broken(), list)
