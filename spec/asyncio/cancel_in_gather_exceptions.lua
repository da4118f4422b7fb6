-- The same with return_exceptions: the caller's cancellation comes when all have ended.
local function child(name, cleanup)
  local _f <close> = finally(function()
    neap.sleep(cleanup)
    log(name, "ends", now())
  end)
  neap.sleep(10)
end
local task = neap.create_task(function()
  local children = { function() child("a", 1) end, function() child("b", 2) end }
  local ok, list = pcall(neap.gather, children,
    { return_exceptions = true })
  if ok then log(list) return end
  log("parent", kind(list), now())
  error(list, 0)
end)
neap.sleep(1)
task:cancel "why"
neap.wait { task }
log(task:cancelled(), now())
