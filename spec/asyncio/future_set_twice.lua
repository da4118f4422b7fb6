-- A future gets one outcome; each way to set another is refused.
local function refused(set, ...)
  local _, err = pcall(set, ...)
  log(kind(err))
end
local fut = neap.Future()
fut:set_result "first"
refused(fut.set_result, fut, "second")
refused(fut.set_exception, fut, neap.Error "third")
log(fut:cancel(), fut:result(), fut:exception())
local bad = neap.Future()
bad:set_exception(neap.Error "x")
refused(bad.set_result, bad, 1)
log(bad:exception(), bad:cancel(), bad:done(), bad:cancelled())
