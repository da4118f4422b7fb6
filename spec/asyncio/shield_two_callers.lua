-- Two shield the same task: one is cancelled, the other gets the result.
local inner = neap.create_task(neap.sleep, 3, "value")
local function caller(name)
  local ok, value = pcall(neap.shield, inner)
  if ok then log(name, value, now()) return end
  log(name, "cancelled", now())
  error(value, 0)
end
local a, b = neap.create_task(caller, "a"), neap.create_task(caller, "b")
neap.sleep(1)
a:cancel()
neap.wait { a, b }
log(inner:done(), inner:cancelling())
