-- reset sends those who wait away with an error; the barrier is not broken then.
local barrier = neap.Barrier(3)
local function child(name)
  local ok, err = pcall(barrier.wait, barrier)
  if ok then log(name, "passed") else log(name, kind(err)) end
end
local tasks = { neap.create_task(child, "a"), neap.create_task(child, "b") }
neap.sleep(1)
barrier:reset()
neap.wait(tasks)
log(barrier:broken(), barrier:n_waiting())
neap.gather(function() child "c" end, function() child "d" end, function() child "e" end)
