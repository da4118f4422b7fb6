-- Cancelling the caller does not touch the tasks.
local tasks = { neap.create_task(neap.sleep, 1, 1), neap.create_task(neap.sleep, 5, 5) }
local task = neap.create_task(function()
  local ok, err = pcall(function()
    for one in neap.as_completed(tasks) do log(one:await(), now()) end
  end)
  assert(not ok)
  log(err, now(), tasks[2]:done(), tasks[2]:cancelling())
  error(err, 0)
end)
neap.sleep(2)
task:cancel "outside"
neap.wait { task }
log(task:cancelled(), tasks[2]:await(), now())
