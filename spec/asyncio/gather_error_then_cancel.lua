-- After the first error the gather is over: cancelling the caller later spares the children.
local function bad()
  neap.sleep(1)
  error(neap.Error "first")
end
local function good()
  local ok, err = pcall(neap.sleep, 3)
  if ok then log("good ends", now()) return end
  log "good cancelled"
  error(err, 0)
end
local task = neap.create_task(function()
  local _, err = pcall(neap.gather, bad, good)
  log(err)
  neap.sleep(10)
end)
neap.sleep(2)
task:cancel()
neap.wait { task }
neap.sleep(5)
