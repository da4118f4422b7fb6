-- An error of the block leaves as it is, before and after the deadline.
for _, delay in ipairs { 1, 3 } do
  local cm
  local _, err = pcall(function()
    cm = neap.timeout(2)
    local _t <close> = cm
    local _f <close> = finally(function() error(neap.Error "own") end)
    neap.sleep(delay)
  end)
  log(err, cm:expired(), neap.current_task():cancelling())
end
neap.sleep(1)
log "end"
