-- Waiters cancelled before and after set: the others are woken.
local event = neap.Event()
local function child(name)
  local ok, err = pcall(event.wait, event)
  log(name, ok and "woken" or "cancelled")
  if not ok then error(err, 0) end
end
local tasks = {}
for name in ("abcd"):gmatch "." do tasks[#tasks + 1] = neap.create_task(child, name) end
neap.sleep(0)
tasks[2]:cancel()
event:set()
tasks[3]:cancel()
neap.wait(tasks)
