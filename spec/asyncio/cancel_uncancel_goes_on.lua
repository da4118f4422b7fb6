-- After uncancel a task goes on, and can be cancelled again.
local task = neap.create_task(function()
  for i = 0, 1 do
    local _, err = pcall(neap.sleep, 10)
    log(i, err, neap.current_task():cancelling(), neap.current_task():uncancel())
  end
  neap.sleep(1)
  return "end"
end)
neap.sleep(1)
task:cancel "a"
neap.sleep(1)
task:cancel "b"
log(task:await(), task:cancelling(), now())
