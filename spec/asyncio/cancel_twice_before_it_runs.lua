-- Two cancellations before the task runs are one error, with the later message.
local task = neap.create_task(function()
  local self = neap.current_task()
  local _, err = pcall(neap.sleep, 10)
  log(err, self:cancelling())
  self:uncancel()
  self:uncancel()
  neap.sleep(1)
  log("slept", now())
end)
neap.sleep(0)
log(task:cancel "one", task:cancel "two", task:cancelling())
local ok, err = pcall(task.await, task)
if ok then log(2) else log(err) end
