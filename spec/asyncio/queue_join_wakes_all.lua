-- All who join are woken by the last task_done, in the order in which they came.
local queue = neap.Queue()
queue:put_nowait(1)
local function joiner(name)
  queue:join()
  log(name, now())
end
local tasks = {}
for name in ("abc"):gmatch "." do tasks[#tasks + 1] = neap.create_task(joiner, name) end
neap.sleep(1)
queue:get_nowait()
log "got"
queue:task_done()
neap.gather(tasks)
queue:put_nowait(2)
local task = neap.create_task(joiner, "again")
neap.sleep(1)
log(task:done())
queue:task_done()
task:await()
