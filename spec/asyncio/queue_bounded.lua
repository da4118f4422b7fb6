-- A full queue holds its producers back, in order.
local queue = neap.Queue(2)
local function producer(name)
  for n = 0, 1 do
    queue:put(name .. n)
    log("put", name .. n, now())
  end
end
local tasks = {}
for name in ("abc"):gmatch "." do tasks[#tasks + 1] = neap.create_task(producer, name) end
neap.sleep(1)
log(queue:full(), queue:qsize())
for _ = 1, 6 do
  log("got", queue:get())
  neap.sleep(1)
end
neap.gather(tasks)
