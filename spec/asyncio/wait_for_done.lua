-- One that is done gives its result whatever the time-out.
local fut = neap.Future()
fut:set_result "value"
for _, delay in ipairs { 0, -1, 5, false } do log(neap.wait_for(fut, delay or nil)) end
local bad = neap.Future()
bad:set_exception(neap.Error "bad")
local _, err = pcall(neap.wait_for, bad, 0)
log(err, now())
