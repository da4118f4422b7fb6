-- run cancels what is left when its function has ended, and waits for the cleanup.
local function left()
  local _f <close> = finally(function()
    neap.sleep(1)
    log "cleaned up"
  end)
  neap.sleep(10)
end
local result = neap.run(function()
  neap.create_task(left)
  neap.sleep(1)
  log "main ends"
  return "result"
end)
log(result)
log "closed"
