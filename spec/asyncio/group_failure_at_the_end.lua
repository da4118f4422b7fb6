-- The failure comes when the block has ended and the group waits for its tasks.
local _, err = pcall(function()
  local group <close> = neap.TaskGroup()
  group:create_task(function()
    neap.sleep(1)
    error(neap.Error "bad")
  end)
  group:create_task(function()
    local _f <close> = finally(function() log("sibling", now()) end)
    neap.sleep(10)
  end)
  log "block ends"
end)
log(err, now())
neap.sleep(1)
log "goes on"
