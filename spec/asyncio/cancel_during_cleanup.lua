-- A second cancellation while the first one's cleanup waits interrupts the cleanup.
local task = neap.create_task(function()
  local _f <close> = finally(function()
    log("cleanup", now())
    local _g <close> = finally(function()
      log("cleanup interrupted", now(), neap.current_task():cancelling())
    end)
    neap.sleep(10)
  end)
  neap.sleep(10)
end)
neap.sleep(1)
task:cancel "first"
neap.sleep(1)
task:cancel "second"
local _, err = pcall(task.await, task)
log(err, now())
