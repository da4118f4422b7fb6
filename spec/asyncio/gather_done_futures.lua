-- What is done already counts; a done error is raised although others are pending.
local a, b = neap.Future(), neap.Future()
a:set_result(1)
b:set_result(2)
log { neap.gather(a, b) }
local bad, pending = neap.Future(), neap.Future()
bad:set_exception(neap.Error "done already")
local _, err = pcall(neap.gather, pending, bad)
log(err, pending:done(), now())
