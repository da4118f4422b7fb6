-- Those that are started by gather, wait_for and groups have a copy as well.
local var = neap.ContextVar("var", "default")
local function child(name)
  log(name, var:get())
  var:set(name)
end
var:set "main"
neap.gather(function() child "gather" end)
neap.shield(child, "shield")
do
  local group <close> = neap.TaskGroup()
  group:create_task(child, "group")
end
log(var:get())
