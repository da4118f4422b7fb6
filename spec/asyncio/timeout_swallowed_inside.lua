-- A block that swallows the cancellation and ends well leaves without TimeoutError.
local cm
do
  cm = neap.timeout(1)
  local _t <close> = cm
  pcall(neap.sleep, 10)
  log("swallowed", neap.current_task():cancelling())
end
log(cm:expired(), neap.current_task():cancelling(), now())
neap.sleep(1)
log("goes on", now())
