-- A putter that is cancelled puts nothing, before and after there is room.
local queue = neap.Queue(1)
local function putter(name)
  local ok, err = pcall(queue.put, queue, name)
  log(name, ok and "put" or "cancelled")
  if not ok then error(err, 0) end
end
queue:put_nowait "first"
local tasks = {}
for name in ("abc"):gmatch "." do tasks[#tasks + 1] = neap.create_task(putter, name) end
neap.sleep(0)
tasks[1]:cancel()
turns(2)
log(queue:get_nowait())
tasks[2]:cancel()
neap.wait(tasks)
log(queue:get_nowait(), queue:empty())
