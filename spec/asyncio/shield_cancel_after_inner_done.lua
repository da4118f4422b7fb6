-- What is shielded has ended, the caller not yet run: cancelled, the result stays with the task.
local fut = neap.Future()
local task = neap.create_task(function()
  local ok, value = pcall(neap.shield, fut)
  if ok then log("got", value) return end
  log(kind(value))
  error(value, 0)
end)
neap.sleep(0)
fut:set_result "value"
task:cancel()
neap.wait { task }
log(task:cancelled(), fut:result())
