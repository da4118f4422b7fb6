-- The inner time-out is the shorter, then the longer one.
local function inner(delay)
  local ok, err = pcall(neap.wait_for, neap.sleep, delay, 10)
  assert(not ok)
  if neap.TimeoutError:is(err) then
    log("inner times out", now())
    return "inner"
  end
  log("inner cancelled", now())
  error(err, 0)
end
log(neap.wait_for(inner, 2, 1))
local ok = pcall(neap.wait_for, inner, 2, 5)
if not ok then log("outer times out", now()) end
