-- Woken by an error and cancelled before it runs: the cancellation is what it sees.
local fut = neap.Future()
local task = neap.create_task(function()
  local _, err = pcall(fut.await, fut)
  log("sees", err)
  error(err, 0)
end)
neap.sleep(0)
fut:set_exception(neap.Error "lost")
task:cancel()
neap.wait { task }
log(task:cancelled(), fut:exception())
