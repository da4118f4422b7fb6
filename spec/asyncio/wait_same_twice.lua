-- The same task twice in a list counts once.
local task = neap.create_task(neap.sleep, 1)
local done, pending = neap.wait({ task, task, neap.create_task(neap.sleep, 2) }, { timeout = 1.5 })
log(#done, #pending, now())
neap.sleep(1)
