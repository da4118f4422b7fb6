-- A task that catches its cancellation and returns is done and not cancelled.
local task = neap.create_task(function()
  pcall(neap.sleep, 10)
  return "kept"
end)
neap.sleep(1)
task:cancel()
log(task:await(), task:cancelled(), task:cancelling())
