-- An error of a callback goes to the exception handler; the others run.
local function bad() error(neap.Error "in a callback") end
loop:call_soon(bad)
loop:call_soon(log, "next")
loop:call_later(1, bad)
neap.sleep(2)
log "end"
