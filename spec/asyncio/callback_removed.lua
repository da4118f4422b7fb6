-- Removing a callback removes all of its kind, unless they are queued already.
local fut = neap.Future()
local function one() log "one" end
local function two() log "two" end
for _, callback in ipairs { one, two, one } do fut:add_done_callback(callback) end
log(fut:remove_done_callback(one), fut:remove_done_callback(one))
fut:add_done_callback(one)
fut:set_result(nil)
log(fut:remove_done_callback(two))
neap.sleep(0)
