-- A token belongs to the context in which it was made.
local var = neap.ContextVar("var", "default")
local token = var:set "main"
neap.create_task(function()
  local _, err = pcall(var.reset, var, token)
  log(kind(err), var:get())
end):await()
var:reset(token)
log(var:get())
