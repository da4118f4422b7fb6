-- A block that ends in time leaves nothing behind.
local cm
do
  local t <close> = neap.timeout(2)
  cm = t
  neap.sleep(1)
end
log(cm:expired(), now())
neap.sleep(5)
log(now(), neap.current_task():cancelling())
do
  local t <close> = neap.timeout(nil)
  cm = t
  neap.sleep(5)
  log(t:when())
end
log(cm:expired())
