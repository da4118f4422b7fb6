-- A child turns its cancellation into another error: the caller of gather gets that one.
local function broken()
  local _f <close> = finally(function() error(neap.Error "broken") end)
  neap.sleep(10)
end
local task = neap.create_task(function()
  neap.gather(broken, function() neap.sleep(10) end)
end)
neap.sleep(1)
task:cancel()
neap.wait { task }
log(task:cancelled(), task:exception())
