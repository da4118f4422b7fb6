-- Leaving the loop early leaves the others alone.
local tasks = {}
for i, d in ipairs { 2, 1, 3 } do tasks[i] = neap.create_task(neap.sleep, d, d) end
for task in neap.as_completed(tasks) do
  log(task:await(), now())
  if now() == 2 then break end
end
neap.sleep(5)
log { tasks[1]:result(), tasks[2]:result(), tasks[3]:result() }
