-- Rescheduled to a time that has passed: it expires at the next wait.
local cm
local _, err = pcall(function()
  cm = neap.timeout(10)
  local _t <close> = cm
  neap.sleep(2)
  cm:reschedule(loop:time() - 1)
  log("rescheduled", cm:expired())
  neap.sleep(1)
end)
log(kind(err), now(), cm:expired())
