-- notify wakes in the order of arrival, notify(n) n of them, notify_all the rest.
local cond = neap.Condition()
local function child(name)
  local _held <close> = cond:acquire()
  cond:wait()
  log(name)
end
local tasks = {}
for name in ("abcdef"):gmatch "." do tasks[#tasks + 1] = neap.create_task(child, name) end
turns(2)
local function notify(n, text)
  local _held <close> = cond:acquire()
  if n then cond:notify(n) else cond:notify_all() end
  if text then log(text) end
end
notify(1, "notified one")
neap.sleep(1)
notify(2)
neap.sleep(1)
notify(nil, "notified all")
neap.gather(tasks)
log(cond:locked())
