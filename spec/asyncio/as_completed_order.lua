-- In the order of completion; errors are raised where their result is taken.
local function child(name, delay)
  return function()
    neap.sleep(delay)
    if name == "bad" then error(neap.Error(name)) end
    return name
  end
end
for task in neap.as_completed { child("a", 3), child("b", 1), child("bad", 2) } do
  local ok, value = pcall(task.await, task)
  if ok then log(value, now()) else log("raised", value, now()) end
end
