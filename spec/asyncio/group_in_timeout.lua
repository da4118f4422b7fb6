-- A time-out around a group: the tasks are cancelled, and TimeoutError leaves, not a group.
local function child(name)
  local _f <close> = finally(function() log(name, now()) end)
  neap.sleep(10)
end
local _, err = pcall(function()
  local _t <close> = neap.timeout(1)
  local group <close> = neap.TaskGroup()
  group:create_task(child, "child")
end)
log(kind(err), now(), neap.current_task():cancelling())
