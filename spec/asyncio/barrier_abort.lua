-- abort breaks it for those who wait and for those who come; reset makes it usable again.
local barrier = neap.Barrier(3)
local function child(name)
  local ok, err = pcall(barrier.wait, barrier)
  if ok then log(name, "passed") else log(name, kind(err), now()) end
end
local tasks = { neap.create_task(child, "a"), neap.create_task(child, "b") }
neap.sleep(1)
log(barrier:n_waiting())
barrier:abort()
neap.wait(tasks)
child "late"
log(barrier:broken(), barrier:n_waiting())
barrier:reset()
log(barrier:broken())
neap.gather(function() child "c" end, function() child "d" end, function() child "e" end)
