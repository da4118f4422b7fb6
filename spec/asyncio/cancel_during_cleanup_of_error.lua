-- Cancelled while the cleanup after an error waits: the cancellation takes the error's place.
local task = neap.create_task(function()
  local _f <close> = finally(function()
    neap.sleep(10)
    log "not reached"
  end)
  error(neap.Error "first")
end)
neap.sleep(1)
task:cancel()
neap.wait { task }
log(task:cancelled(), now())
