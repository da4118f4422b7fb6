-- An error that nobody looked at is reported; one that was looked at is not.
local function child(name) error(neap.Error(name)) end
local tasks = { neap.create_task(child, "unseen"), neap.create_task(child, "seen"),
  neap.create_task(child, "by callback") }
tasks[3]:add_done_callback(function(t) log("callback", t:exception()) end)
neap.sleep(0)
log(tasks[2]:exception())
neap.sleep(1)
log "end"
