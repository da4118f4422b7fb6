-- An error of the predicate leaves wait_for with the lock held.
local cond = neap.Condition()
do
  local _held <close> = cond:acquire()
  local _, err = pcall(cond.wait_for, cond, function() error(neap.Error "predicate") end)
  log(err, cond:locked())
end
log(cond:locked())
