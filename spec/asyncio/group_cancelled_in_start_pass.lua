-- Cancelled in the pass in which its tasks were made: they still have their first step.
local task = neap.create_task(function()
  local group <close> = neap.TaskGroup()
  group:create_task(function()
    log "child starts"
    local _f <close> = finally(function() log "child cancelled" end)
    neap.sleep(10)
  end)
end)
loop:call_soon(function() log("cancel", task:cancel()) end)
neap.wait { task }
log(task:cancelled())
