-- The same with wait_for, and with a task that fails.
local task = neap.create_task(function()
  local _f <close> = finally(function()
    local ok = pcall(neap.wait_for, neap.sleep, 1, 5)
    if not ok then log("caught", now()) end
    local bad = neap.create_task(function() error(neap.Error "bad") end)
    local _, err = pcall(bad.await, bad)
    log("caught", err)
    neap.sleep(1)
    log("cleaned", now())
  end)
  neap.sleep(10)
end)
neap.sleep(1)
task:cancel()
neap.wait { task }
log(task:cancelled(), now())
