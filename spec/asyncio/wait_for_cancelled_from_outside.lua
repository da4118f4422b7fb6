-- Cancelled from outside: the awaited one is cancelled first, no TimeoutError.
local function child()
  local _f <close> = finally(function() log("child cancelled", now()) end)
  neap.sleep(10)
end
local task = neap.create_task(function()
  local _, err = pcall(neap.wait_for, child, 5)
  log("parent", err, now())
  error(err, 0)
end)
neap.sleep(1)
task:cancel "outside"
neap.wait { task }
log(task:cancelled())
neap.sleep(10)
