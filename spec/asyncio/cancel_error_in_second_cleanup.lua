-- The inner cleanup raises an error, the outer one another: the last one stays.
local task = neap.create_task(function()
  local _outer <close> = finally(function()
    neap.sleep(1)
    error(neap.Error "outer")
  end)
  local _inner <close> = finally(function() error(neap.Error "inner") end)
  neap.sleep(10)
end)
neap.sleep(1)
task:cancel()
neap.wait { task }
log(task:cancelled(), task:exception(), now())
