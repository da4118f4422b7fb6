-- Leaving the block waits for all its tasks, also for those that were added meanwhile.
local group
local function late()
  neap.sleep(1)
  log("late", now())
end
local function child(delay)
  neap.sleep(delay)
  log("child", now())
  if delay == 2 then group:create_task(late) end
  return delay
end
local a, b
do
  group = neap.TaskGroup()
  local _g <close> = group
  a, b = group:create_task(child, 1), group:create_task(child, 2)
  log("end of the block", now())
end
log("left", now(), a:result(), b:result())
