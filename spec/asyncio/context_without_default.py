# Without a default and a value get raises, or gives what it is told.
var = ContextVar("var")
try:
    var.get()
except LookupError:
    log("nothing set")
token = var.set(None)
log(var.get())
var.reset(token)
try:
    var.get()
except LookupError:
    log("nothing set again")
