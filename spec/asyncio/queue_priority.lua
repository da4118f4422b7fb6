-- A priority queue gives the smallest item; getters that wait get theirs in order.
local queue = neap.PriorityQueue()
for _, item in ipairs { 5, 1, 4, 1, 3 } do queue:put_nowait(item) end
local list = {}
for i = 1, 5 do list[i] = queue:get_nowait() end
log(list)
local function getter(name) log(name, queue:get()) end
local tasks = { neap.create_task(getter, "a"), neap.create_task(getter, "b") }
neap.sleep(0)
queue:put_nowait(9)
queue:put_nowait(2)
neap.gather(tasks)
