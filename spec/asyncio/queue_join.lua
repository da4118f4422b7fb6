-- join waits until task_done was called for each item; too many calls are an error.
local queue = neap.Queue()
local function worker()
  while true do
    local item = queue:get()
    neap.sleep(item)
    log("done", item, now())
    queue:task_done()
  end
end
queue:join()
log "nothing to wait for"
for item = 1, 3 do queue:put_nowait(item) end
local w = neap.create_task(worker)
neap.create_task(function()
  queue:join()
  log("joined", now())
end):await()
w:cancel()
neap.wait { w }
local _, err = pcall(queue.task_done, queue)
log(kind(err))
