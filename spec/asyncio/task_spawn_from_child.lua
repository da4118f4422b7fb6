-- Tasks made by a task run after those that were ready already.
local function leaf(name) log(name) end
local function spawner(name)
  log("spawner", name)
  neap.create_task(leaf, name .. "1")
  neap.create_task(leaf, name .. "2")
end
neap.gather(function() spawner "a" end, function() spawner "b" end)
neap.sleep(0)
