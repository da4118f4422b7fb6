-- An empty list and an unknown mode are errors.
local _, err = pcall(neap.wait, {})
log(kind(err))
local task = neap.create_task(neap.sleep, 0)
_, err = pcall(neap.wait, { task }, { return_when = "some" })
log(kind(err))
task:await()
