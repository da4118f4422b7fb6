-- A task that cancels itself in its first step goes on to its next wait, which ends at once.
local task = neap.create_task(function()
  log("cancel", neap.current_task():cancel "self")
  log "goes on"
  local _, err = pcall(neap.sleep, 5)
  log("in the wait", err, now())
  error(err, 0)
end)
neap.wait { task }
log(task:cancelled(), now())
