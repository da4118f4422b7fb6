-- A cancellation goes through nested gathers.
local function leaf(name)
  return function()
    local _f <close> = finally(function() log(name, now()) end)
    neap.sleep(10)
  end
end
local task = neap.create_task(function()
  local inner = neap.create_task(neap.gather, leaf "a", leaf "b")
  neap.gather(inner, leaf "c")
end)
neap.sleep(1)
task:cancel()
neap.wait { task }
log(task:cancelled())
