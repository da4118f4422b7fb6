-- wait and notify without the lock are errors.
local cond = neap.Condition()
local _, err = pcall(cond.wait, cond)
log(kind(err))
for _, call in ipairs { cond.notify, cond.notify_all, cond.release } do
  _, err = pcall(call, cond)
  log(kind(err))
end
