-- A task that is not done has its coroutine.
local task = neap.create_task(function()
  log(neap.current_task():get_coro() ~= nil)
  neap.sleep(1)
end)
log(task:get_coro() ~= nil)
neap.sleep(0)
log(task:get_coro() ~= nil)
task:await()
