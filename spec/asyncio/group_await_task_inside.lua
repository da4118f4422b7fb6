-- A task's error is raised in the block that awaits it: it is in the group once.
local task
local _, err = pcall(function()
  local group <close> = neap.TaskGroup()
  task = group:create_task(function()
    neap.sleep(1)
    error(neap.Error "bad")
  end)
  local _, e = pcall(task.await, task)
  log("block sees", kind(e))
  error(e, 0)
end)
log(err, err.errors[1] == task:exception(), neap.current_task():cancelling())
