-- Two await the same task, one of them is cancelled: the task is cancelled for both.
local task_in = neap.create_task(function() neap.sleep(10) end)
local function outer(name)
  local _, err = pcall(task_in.await, task_in)
  log(name, neap.current_task():cancelling())
  error(err, 0)
end
local a, b = neap.create_task(outer, "a"), neap.create_task(outer, "b")
neap.sleep(1)
a:cancel()
neap.wait { a, b }
log(task_in:cancelled(), a:cancelled(), b:cancelled(), now())
