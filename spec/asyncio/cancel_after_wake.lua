-- Cancelled after the future it awaits is done, and before it runs: the result is lost.
local fut = neap.Future()
local task = neap.create_task(function()
  local ok, value = pcall(fut.await, fut)
  if ok then log("got", value) end
  log(value)
  error(value, 0)
end)
neap.sleep(0)
fut:set_result "value"
log(task:cancel "late", fut:done(), fut:cancelled())
neap.wait { task }
log(task:cancelled(), fut:result())
