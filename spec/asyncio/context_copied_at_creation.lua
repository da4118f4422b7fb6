-- A task starts with a copy of its creator's context, and its changes stay its own.
local var = neap.ContextVar("var", "default")
local function child(name)
  log(name, var:get())
  var:set(name)
  neap.sleep(1)
  log(name, var:get())
end
var:set "main"
local a = neap.create_task(child, "a")
var:set "main, later"
local b = neap.create_task(child, "b")
neap.gather(a, b)
log(var:get())
