-- A time-out around a plain await of a task cancels that task.
local task = neap.create_task(function()
  local _f <close> = finally(function() log("inner", now()) end)
  neap.sleep(10)
end)
local ok = pcall(function()
  local _t <close> = neap.timeout(1)
  task:await()
end)
if not ok then log("timed out", task:cancelled(), now()) end
