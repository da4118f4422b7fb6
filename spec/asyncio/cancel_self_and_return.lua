-- A task that cancels itself and returns without waiting is cancelled: its result is lost.
local task = neap.create_task(function()
  neap.current_task():cancel "self"
  return "result"
end)
neap.wait { task }
log(task:cancelled(), task:done())
local _, err = pcall(task.await, task)
log(err)
