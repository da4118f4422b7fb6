-- An error in the cleanup takes the place of the cancellation.
local task = neap.create_task(function()
  local _f <close> = finally(function() error(neap.Error "broken cleanup") end)
  neap.sleep(10)
end)
neap.sleep(1)
task:cancel()
neap.wait { task }
log(task:cancelled(), task:exception())
