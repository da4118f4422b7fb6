# A token takes back what its set did; once.
var = ContextVar("var", default=0)
one = var.set(1)
two = var.set(2)
var.reset(two)
log(var.get())
var.reset(one)
log(var.get())
try:
    var.reset(one)
except RuntimeError as err:
    log(kind(err), var.get())
plain, other = ContextVar("plain"), ContextVar("other")
try:
    other.reset(plain.set(1))
except ValueError as err:
    log(kind(err), plain.get())
