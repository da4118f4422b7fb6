-- One child fails and another is cancelled by others in the same pass: the first of them counts.
for _, first in ipairs { "error", "cancel" } do
  local fut, victim = neap.Future(), neap.create_task(neap.sleep, 10)
  local function fail() fut:set_result(nil) end
  local function cancel() victim:cancel() end
  local task = neap.create_task(neap.gather, function()
    fut:await()
    error(neap.Error "bad")
  end, victim)
  neap.sleep(1)
  loop:call_soon(first == "error" and fail or cancel)
  loop:call_soon(first == "error" and cancel or fail)
  local _, err = pcall(task.await, task)
  log(first, kind(err))
  neap.sleep(1)
end
