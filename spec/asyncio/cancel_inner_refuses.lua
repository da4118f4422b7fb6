-- The awaited task refuses its cancellation and returns: the outer gets that result.
local task_in = neap.create_task(function()
  pcall(neap.sleep, 10)
  neap.current_task():uncancel()
  neap.sleep(1)
  return "stays"
end)
local task_out = neap.create_task(function()
  local value = task_in:await()
  log("outer got", value, neap.current_task():cancelling(), now())
  return value
end)
neap.sleep(1)
task_out:cancel()
log(task_out:await(), task_out:cancelled(), task_out:cancelling())
