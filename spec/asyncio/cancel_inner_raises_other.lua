-- The awaited task turns its cancellation into another error: the outer gets that error.
local task_in = neap.create_task(function()
  local _f <close> = finally(function() error(neap.Error "from inner") end)
  neap.sleep(10)
end)
local task_out = neap.create_task(function() task_in:await() end)
neap.sleep(1)
task_out:cancel()
neap.wait { task_out }
log(task_out:cancelled(), task_out:exception(), task_in:exception())
