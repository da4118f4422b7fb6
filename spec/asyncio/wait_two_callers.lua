-- Two wait for the same tasks in different modes.
local tasks = { neap.create_task(neap.sleep, 1), neap.create_task(neap.sleep, 2) }
local function waiter(name, mode)
  return function()
    local done, pending = neap.wait(tasks, { return_when = mode })
    log(name, #done, #pending, now())
  end
end
neap.gather(waiter("all", "all_completed"), waiter("first", "first_completed"))
