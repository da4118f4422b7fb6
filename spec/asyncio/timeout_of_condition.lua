-- A time-out of Condition.wait takes the lock back first, however long that takes.
local cond = neap.Condition()
local task = neap.create_task(function()
  neap.sleep(1)
  local _held <close> = cond:acquire()
  neap.sleep(5)
end)
do
  local _held <close> = cond:acquire()
  local ok = pcall(function()
    local _t <close> = neap.timeout(2)
    cond:wait()
  end)
  if not ok then log("timed out", now(), cond:locked()) end
end
log(cond:locked())
task:await()
