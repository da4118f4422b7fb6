-- The caller is cancelled at once; what is shielded goes on.
local inner = neap.create_task(function()
  neap.sleep(3)
  log("inner ends", now())
  return "value"
end)
local task = neap.create_task(function()
  local _, err = pcall(neap.shield, inner)
  log("outer", kind(err), now(), inner:cancelling())
  error(err, 0)
end)
neap.sleep(1)
task:cancel()
neap.wait { task }
log(task:cancelled(), now())
log(inner:await())
