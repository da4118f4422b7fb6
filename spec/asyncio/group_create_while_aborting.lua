-- A task that is added while the group shuts down.
local _, err = pcall(function()
  local group <close> = neap.TaskGroup()
  group:create_task(function()
    local _f <close> = finally(function()
      local ok, e = pcall(group.create_task, group, log, "late runs")
      if ok then log "added" else log("refused", kind(e)) end
    end)
    neap.sleep(10)
  end)
  group:create_task(function() error(neap.Error "bad") end)
end)
log(err)
