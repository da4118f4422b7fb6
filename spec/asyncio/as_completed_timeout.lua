-- Past the time-out the next one raises TimeoutError; nothing is cancelled.
local tasks = {}
for i, d in ipairs { 1, 2, 5 } do tasks[i] = neap.create_task(neap.sleep, d, d) end
local _, err = pcall(function()
  for task in neap.as_completed(tasks, { timeout = 3 }) do log(task:await(), now()) end
end)
log(kind(err), now(), { tasks[1]:done(), tasks[2]:done(), tasks[3]:done() },
  tasks[3]:cancelling())
log(tasks[3]:await(), now())
