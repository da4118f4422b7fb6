-- Several may await the same task, before and after its end; its error reaches each.
local task = neap.create_task(function()
  neap.sleep(1)
  error(neap.Error "once")
end)
local function watcher(name)
  local _, err = pcall(task.await, task)
  log(name, err, err == task:exception())
end
neap.gather(function() watcher "a" end, function() watcher "b" end)
watcher "late"
