-- wait_for asks the predicate with the lock held, after each notification, and gives its value.
local cond, n = neap.Condition(), 0
local function ready()
  log("asked", n, cond:locked())
  return n >= 2 and "enough"
end
local task = neap.create_task(function()
  local _held <close> = cond:acquire()
  log("got", cond:wait_for(ready))
  log("at once", cond:wait_for(ready))
end)
for i = 1, 2 do
  neap.sleep(1)
  local _held <close> = cond:acquire()
  n = i
  cond:notify_all()
end
task:await()
