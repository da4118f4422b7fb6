-- Children start in the order of the arguments, after what was ready before.
local function child(name)
  log("start", name)
  neap.sleep(0)
  log("end", name)
end
loop:call_soon(log, "callback")
local task = neap.create_task(child, "before")
neap.gather(function() child "a" end, function() child "b" end, task)
log "gathered"
