-- A worker that fails leaves its item undone: join goes on waiting.
local queue = neap.Queue()
for n = 0, 2 do queue:put_nowait(n) end
local task = neap.create_task(function()
  while true do
    local n = queue:get()
    if n == 1 then error(neap.Error "worker") end
    queue:task_done()
  end
end)
local ok = pcall(neap.wait_for, queue.join, 2, queue)
if not ok then log("join times out", now(), queue:qsize(), task:exception()) end
queue:get_nowait()
queue:task_done()
queue:task_done()
queue:join()
log "joined"
