-- Without a default and a value get raises, or gives what it is told.
local var = neap.ContextVar "var"
if not pcall(var.get, var) then log "nothing set" end
local token = var:set(nil)
log(var:get())
var:reset(token)
if not pcall(var.get, var) then log "nothing set again" end
