-- The block is cancelled at the deadline and leaves with TimeoutError.
local cm
local ok, err = pcall(function()
  local t <close> = neap.timeout(1)
  cm = t
  log(t:when() - start, t:expired())
  local _, e = pcall(neap.sleep, 10)
  log("inside", e, neap.current_task():cancelling(), t:expired())
  error(e, 0)
end)
log(kind(err), now(), cm:expired(), neap.current_task():cancelling())
assert(not ok)
neap.sleep(1)
log("goes on", now())
