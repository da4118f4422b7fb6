-- A time-out of wait cancels nothing and raises nothing.
local tasks = {}
for i, d in ipairs { 1, 3 } do tasks[i] = neap.create_task(neap.sleep, d):set_name(d) end
for _, timeout in ipairs { 2, 0, 5, 5 } do
  local done, pending = neap.wait(tasks, { timeout = timeout })
  log(sorted(done), sorted(pending), now())
end
