-- The deadline and a cancellation from outside in the same pass: the cancellation wins.
local task
local function child()
  local cm
  local _, err = pcall(function()
    cm = neap.timeout(1)
    local _t <close> = cm
    neap.sleep(10)
  end)
  log(kind(err), cm:expired(), neap.current_task():cancelling(), now())
  error(err, 0)
end
for _, first in ipairs { true, false } do
  if first then loop:call_later(1, function() task:cancel() end) end
  task = neap.create_task(child)
  neap.sleep(0)
  if not first then loop:call_later(1, function() task:cancel() end) end
  neap.wait { task }
  log(task:cancelled())
end
