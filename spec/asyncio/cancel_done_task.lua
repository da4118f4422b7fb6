-- A task that is done cannot be cancelled, whatever its end was.
local a = neap.create_task(function() return 1 end)
local b = neap.create_task(function() error(neap.Error "x") end)
local c = neap.create_task(neap.sleep, 1)
neap.sleep(0)
c:cancel()
neap.wait { a, b, c }
for _, task in ipairs { a, b, c } do
  log(task:cancel(), task:cancelling(), task:cancelled())
end
log(b:exception())
