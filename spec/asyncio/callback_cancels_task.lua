-- A done callback cancels a task that waits for the same future and was woken after it.
local fut, task = neap.Future(), nil
fut:add_done_callback(function() log("cancel", task:cancel()) end)
task = neap.create_task(function()
  local ok, value = pcall(fut.await, fut)
  if ok then log("got", value) return end
  log "cancelled"
  error(value, 0)
end)
neap.sleep(0)
fut:set_result "value"
neap.wait { task }
log(task:cancelled())
