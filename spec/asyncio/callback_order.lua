-- Done callbacks and awaiting tasks are called in the order in which they came.
local fut = neap.Future()
local function watcher(name) log(name, fut:await()) end
fut:add_done_callback(function(f) log("callback 1", f:result()) end)
local a = neap.create_task(watcher, "task a")
neap.sleep(0)
fut:add_done_callback(function(f) log("callback 2", f:result()) end)
local b = neap.create_task(watcher, "task b")
neap.sleep(0)
fut:add_done_callback(function(f) log("callback 3", f:result()) end)
fut:set_result "value"
log "set"
neap.gather(a, b)
