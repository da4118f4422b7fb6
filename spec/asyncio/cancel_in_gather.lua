-- Cancelling a task that waits in gather cancels all children; it goes on when they have ended.
local function child(name, cleanup)
  local _f <close> = finally(function()
    neap.sleep(cleanup)
    log(name, "ends", now())
  end)
  neap.sleep(10)
end
local task = neap.create_task(function()
  local _, err = pcall(neap.gather, function() child("a", 1) end, function() child("b", 2) end,
    function() child("c", 1.5) end)
  log("parent", err, now())
  error(err, 0)
end)
neap.sleep(1)
log(task:cancel "why")
neap.wait { task }
log(task:cancelled(), now())
neap.sleep(5)
