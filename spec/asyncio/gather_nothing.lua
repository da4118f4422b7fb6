-- An empty gather gives an empty list.
log { neap.gather() }
log(neap.gather({}, { return_exceptions = true }))
