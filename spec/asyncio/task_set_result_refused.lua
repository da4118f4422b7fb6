-- A task's outcome is its function's alone; result and exception of a pending one are refused.
local task = neap.create_task(neap.sleep, 1, "value")
for _, call in ipairs {
  function() task:set_result(1) end,
  function() task:set_exception(neap.Error "x") end,
} do
  local _, err = pcall(call)
  log("refused", kind(err))
end
for _, look in ipairs { task.result, task.exception } do
  local _, err = pcall(look, task)
  log(kind(err))
end
log(task:await(), task:exception())
