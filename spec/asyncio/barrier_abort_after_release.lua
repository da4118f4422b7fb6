-- abort when all are there already: those who pass are through, the barrier is broken.
local barrier = neap.Barrier(2)
local function child(name)
  local ok = pcall(barrier.wait, barrier)
  log(name, ok and "passed" or "broken")
end
local a, b = neap.create_task(child, "a"), neap.create_task(child, "b")
a:await()
b:await()
barrier:abort()
child "c"
log(barrier:broken())
