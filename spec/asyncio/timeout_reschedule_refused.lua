-- After it has expired, and after its block, it cannot be rescheduled.
local left
do
  left = neap.timeout(5)
  local _t <close> = left
end
local function refused(cm)
  if not pcall(cm.reschedule, cm, start + 100) then log("refused", cm:expired()) end
end
refused(left)
local cm
pcall(function()
  cm = neap.timeout(1)
  local _t <close> = cm
  local _f <close> = finally(function() refused(cm) end)
  neap.sleep(10)
end)
refused(cm)
