-- The timer of the result is armed first; the canceller runs in the same pass, before the task.
local fut, task = neap.Future(), nil
loop:call_later(1, function() fut:set_result "value" end)
loop:call_later(1, function() log("cancel", task:cancel()) end)
task = neap.create_task(function()
  local ok, value = pcall(fut.await, fut)
  if ok then log("got", value) return end
  log("cancelled", now(), fut:done())
  error(value, 0)
end)
neap.wait { task }
log(task:cancelled(), fut:result())
