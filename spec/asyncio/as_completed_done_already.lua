-- Those that are done already come at once.
local tasks = {}
for i, d in ipairs { 3, 1, 2 } do tasks[i] = neap.create_task(neap.sleep, d, d) end
neap.sleep(1.5)
for task in neap.as_completed(tasks) do log(task:await(), now()) end
for task in neap.as_completed({ tasks[1] }, { timeout = 1 }) do log(task:await(), now()) end
for _ in neap.as_completed {} do log "none" end
