-- A getter that is cancelled while it waits takes no item.
local queue = neap.Queue()
local function getter(name)
  local ok, item = pcall(queue.get, queue)
  if ok then log(name, item) return end
  log(name, "cancelled")
  error(item, 0)
end
local tasks = {}
for name in ("abc"):gmatch "." do tasks[#tasks + 1] = neap.create_task(getter, name) end
neap.sleep(0)
tasks[1]:cancel()
turns(2)
queue:put_nowait "item"
turns(2)
queue:put_nowait "second"
neap.wait(tasks)
log(queue:qsize())
