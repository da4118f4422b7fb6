-- A cleanup that cancels its own task is interrupted at its next wait.
local task = neap.create_task(function()
  local _f <close> = finally(function()
    neap.current_task():cancel "again"
    local _, err = pcall(neap.sleep, 5)
    log(err, neap.current_task():cancelling())
    error(err, 0)
  end)
  neap.sleep(10)
end)
neap.sleep(1)
task:cancel "first"
neap.wait { task }
log(task:cancelled(), now())
