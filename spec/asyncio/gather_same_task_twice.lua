-- The same task twice is awaited once and its result given twice.
local task = neap.create_task(function()
  log "runs"
  neap.sleep(1)
  return "value"
end)
log { neap.gather(task, task, function() return neap.sleep(0, "z") end) }
