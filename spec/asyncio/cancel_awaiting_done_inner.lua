-- The inner task has ended, the outer not yet run: a cancellation is not forwarded any more.
local fut = neap.Future()
local task_in = neap.create_task(function()
  fut:await()
  return "inner"
end)
local task_out = neap.create_task(function()
  local ok, value = pcall(task_in.await, task_in)
  if ok then log("got", value) return end
  log(value, task_in:cancelled())
  error(value, 0)
end)
neap.sleep(0)
task_in:add_done_callback(function() log("cancel", task_out:cancel "race") end)
fut:set_result(nil)
neap.wait { task_out }
log(task_out:cancelled(), task_in:result())
