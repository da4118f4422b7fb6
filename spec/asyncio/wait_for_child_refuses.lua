-- One that refuses its cancellation and returns a result: that is the result.
local task = neap.create_task(function()
  pcall(neap.sleep, 10)
  neap.current_task():uncancel()
  return "kept"
end)
local ok, value = pcall(neap.wait_for, task, 1)
log(ok and value or kind(value), now())
log(task:cancelled(), task:result())
