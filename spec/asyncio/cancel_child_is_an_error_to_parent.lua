-- A cancelled child raises CancelledError in its parent, which is not cancelled itself.
local child = neap.create_task(neap.sleep, 10)
local task = neap.create_task(function()
  local _, err = pcall(child.await, child)
  log("parent", err, neap.current_task():cancelling())
  neap.sleep(1)
  return "went on"
end)
neap.sleep(1)
child:cancel "only the child"
log(task:await(), now())
