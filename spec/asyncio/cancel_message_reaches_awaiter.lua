-- The message reaches the one who awaits; afterwards result and exception raise as well.
local task = neap.create_task(neap.sleep, 10)
neap.sleep(0)
task:cancel "the reason"
local _, err = pcall(task.await, task)
log(err)
for _, look in ipairs { task.result, task.exception } do
  local _, again = pcall(look, task)
  log(kind(again))
end
