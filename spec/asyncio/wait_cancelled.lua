-- Cancelling the caller of wait does not touch what it waits for.
local inner = neap.create_task(function()
  neap.sleep(3)
  log("child ends", now())
end)
local task = neap.create_task(function()
  local _, err = pcall(neap.wait, { inner }, { timeout = 10 })
  log(err, inner:done(), inner:cancelling())
  error(err, 0)
end)
neap.sleep(1)
task:cancel "outside"
neap.wait { task }
log(task:cancelled(), now())
inner:await()
