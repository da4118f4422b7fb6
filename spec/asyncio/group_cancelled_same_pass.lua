-- Cancelled in the pass in which the children were made: they take their first step before.
local function child(name, fails)
  log(name, "starts")
  if fails then error(neap.Error(name)) end
  neap.sleep(10)
end
local function parent(fails)
  local group <close> = neap.TaskGroup()
  group:create_task(child, "a", false)
  group:create_task(child, "b", fails)
end
for _, fails in ipairs { false, true } do
  local task = neap.create_task(parent, fails)
  neap.create_task(function() log("cancel", task:cancel()) end)
  local _, err = pcall(task.await, task)
  log(err, now(), task:cancelling())
end
