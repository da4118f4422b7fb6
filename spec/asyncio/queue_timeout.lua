-- A time-out of get: no item is lost.
local queue = neap.Queue()
local function getter(name, delay)
  local ok, item = pcall(neap.wait_for, queue.get, delay, queue)
  log(name, ok and item or "timed out", now())
end
local tasks = { neap.create_task(getter, "a", 1), neap.create_task(getter, "b", 5) }
neap.sleep(2)
queue:put_nowait "item"
neap.wait(tasks)
log(queue:qsize())
