-- An empty list and an unknown mode are errors.
local _, err = pcall(neap.wait, {})
log(kind(err))
_, err = pcall(neap.wait, { neap.create_task(neap.sleep, 0) }, { return_when = "some" })
log(kind(err))
