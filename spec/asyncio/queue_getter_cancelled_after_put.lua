-- A getter that is cancelled when its item is there already: the next one gets it.
local queue = neap.Queue()
local function getter(name)
  local ok, item = pcall(queue.get, queue)
  if ok then log(name, item) return end
  log(name, "cancelled")
  error(item, 0)
end
local tasks = { neap.create_task(getter, "a"), neap.create_task(getter, "b") }
neap.sleep(0)
queue:put_nowait "item"
tasks[1]:cancel()
neap.wait(tasks)
log(queue:qsize(), tasks[1]:cancelled())
