-- A token takes back what its set did; once.
local var = neap.ContextVar("var", 0)
local one = var:set(1)
local two = var:set(2)
var:reset(two)
log(var:get())
var:reset(one)
log(var:get())
local _, err = pcall(var.reset, var, one)
log(kind(err), var:get())
local plain, other = neap.ContextVar "plain", neap.ContextVar "other"
_, err = pcall(other.reset, other, plain:set(1))
log(kind(err), plain:get())
