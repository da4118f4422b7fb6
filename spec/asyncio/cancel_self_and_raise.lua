-- A task that cancels itself and then raises has raised.
local task = neap.create_task(function()
  neap.current_task():cancel "self"
  error(neap.Error "other")
end)
neap.wait { task }
log(task:cancelled(), task:exception())
