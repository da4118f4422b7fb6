-- set wakes everybody who waits, in order; clear right after it changes nothing for them.
local event = neap.Event()
local function child(name) log(name, event:wait(), event:is_set()) end
local tasks = {}
for name in ("abc"):gmatch "." do tasks[#tasks + 1] = neap.create_task(child, name) end
neap.sleep(0)
event:set()
event:clear()
local late = neap.create_task(child, "late")
turns(3)
log(late:done())
event:set()
neap.gather(late, table.unpack(tasks))
log(event:wait())
