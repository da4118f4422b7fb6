-- First in, first out; getters are served in the order of arrival.
local queue = neap.Queue()
local function getter(name)
  for _ = 1, 2 do log(name, queue:get(), now()) end
end
local tasks = { neap.create_task(getter, "a"), neap.create_task(getter, "b") }
neap.sleep(1)
for item = 1, 4 do
  queue:put(item)
  log("put", item, queue:qsize())
end
neap.gather(tasks)
log(queue:empty(), queue:full(), queue:qsize())
