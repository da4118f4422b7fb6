-- Past the time-out the awaited one is cancelled, and waited for; then TimeoutError.
local function child()
  local ok, err = pcall(neap.sleep, 10)
  assert(not ok)
  log("cancelled", now())
  neap.shield(neap.sleep, 1)
  log("cleaned", now())
  error(err, 0)
end
local _, err = pcall(neap.wait_for, child, 2)
log(kind(err), now(), neap.current_task():cancelling())
