-- The result and the deadline in the same pass: whichever is first in the queue decides.
local function child(name)
  local fut, cm = neap.Future(), nil
  local function set()
    if not fut:done() then fut:set_result "value" end
  end
  if name == "result first" then loop:call_later(1, set) end
  local ok, err = pcall(function()
    cm = neap.timeout(1)
    local _t <close> = cm
    if name == "deadline first" then loop:call_later(1, set) end
    log(name, fut:await())
  end)
  if not ok then log(name, kind(err)) end
  log(cm:expired(), fut:done(), fut:cancelled(), neap.current_task():cancelling())
end
neap.create_task(child, "result first"):await()
neap.create_task(child, "deadline first"):await()
neap.sleep(1)
