-- A callback that is scheduled by a callback runs in the next pass, not in this one.
local function again(n)
  log("callback", n)
  if n < 3 then loop:call_soon(again, n + 1) end
end
loop:call_soon(again, 1)
loop:call_soon(log, "other")
neap.sleep(0)
log "one pass"
neap.sleep(1)
