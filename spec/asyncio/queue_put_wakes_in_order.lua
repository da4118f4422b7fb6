-- Several items for several getters: each gets one, in the order of arrival.
local queue = neap.Queue()
local function getter(name) log(name, queue:get()) end
local tasks = {}
for name in ("abc"):gmatch "." do tasks[#tasks + 1] = neap.create_task(getter, name) end
neap.sleep(0)
for n = 0, 2 do queue:put_nowait(n) end
log(queue:qsize())
neap.gather(tasks)
log(queue:qsize())
