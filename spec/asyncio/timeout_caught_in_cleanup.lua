-- A time-out that expires in the cleanup after a cancellation, and is caught there: the cleanup
-- goes on.
local task = neap.create_task(function()
  local _f <close> = finally(function()
    local ok = pcall(function()
      local _t <close> = neap.timeout(1)
      neap.sleep(5)
    end)
    assert(not ok)
    log("caught", now(), neap.current_task():cancelling())
    neap.sleep(1)
    log("cleaned", now())
  end)
  neap.sleep(10)
end)
neap.sleep(1)
task:cancel()
neap.wait { task }
log(task:cancelled(), now())
