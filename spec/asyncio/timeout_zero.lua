-- A deadline that has passed: the block runs to its first wait; one that never waits is not hit.
for _, delay in ipairs { 0, -1 } do
  local _, err = pcall(function()
    local _t <close> = neap.timeout(delay)
    log "inside"
    neap.sleep(10)
  end)
  log(kind(err), now())
end
local cm
do
  cm = neap.timeout(0)
  local _t <close> = cm
  log "no wait inside"
end
log(cm:expired())
neap.sleep(1)
log "end"
