-- Cancelled from outside before the deadline: CancelledError leaves, no TimeoutError.
local task = neap.create_task(function()
  local cm
  local _, err = pcall(function()
    cm = neap.timeout(5)
    local _t <close> = cm
    neap.sleep(10)
  end)
  log(err, cm:expired(), neap.current_task():cancelling())
  error(err, 0)
end)
neap.sleep(1)
task:cancel "outside"
neap.wait { task }
log(task:cancelled(), now())
