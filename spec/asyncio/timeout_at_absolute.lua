-- timeout_at takes a time of the loop's clock; one that has passed expires at the first wait.
local cm
pcall(function()
  cm = neap.timeout_at(start + 2)
  local _t <close> = cm
  neap.sleep(10)
end)
log("expired", now(), cm:when() - start)
pcall(function()
  cm = neap.timeout_at(start + 1)
  local _t <close> = cm
  log "inside"
  neap.sleep(10)
end)
log("expired", now())
do
  cm = neap.timeout_at(nil)
  local _t <close> = cm
  neap.sleep(1)
end
log(cm:expired(), cm:when())
