-- Cleanup of several levels runs from the inside out, each of them may wait.
local function cleanup(name)
  return finally(function()
    neap.sleep(1)
    log(name, now())
  end)
end
local task = neap.create_task(function()
  local _outer <close> = cleanup "outer"
  local _middle <close> = cleanup "middle"
  local _inner <close> = cleanup "inner"
  neap.sleep(10)
end)
neap.sleep(1)
task:cancel()
neap.wait { task }
log(task:cancelled(), now())
