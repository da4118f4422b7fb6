-- put into a queue with room, and get of what is there, let nobody else run.
local queue = neap.Queue()
loop:call_soon(log, "callback")
for n = 0, 2 do queue:put(n) end
local list = {}
for i = 1, 3 do list[i] = queue:get() end
log(list)
log "before the callback"
neap.sleep(0)
