-- A child that refuses and returns: the gather is cancelled all the same once all have ended.
local function stubborn()
  pcall(neap.sleep, 10)
  neap.current_task():uncancel()
  neap.sleep(1)
  log("stays", now())
  return "stays"
end
local task = neap.create_task(function()
  local ok, err = pcall(function() log("results", { neap.gather(stubborn, stubborn) }) end)
  if ok then return end
  log("parent cancelled", now())
  error(err, 0)
end)
neap.sleep(1)
task:cancel()
neap.wait { task }
log(task:cancelled())
