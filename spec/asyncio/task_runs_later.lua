-- A new task never runs inside create_task; tasks and callbacks share one queue.
local function child(name) log("task", name) end
loop:call_soon(log, "callback 1")
local a = neap.create_task(child, "a")
loop:call_soon(log, "callback 2")
local b = neap.create_task(child, "b")
log "created"
neap.sleep(0)
log("after one pass", a:done(), b:done())
