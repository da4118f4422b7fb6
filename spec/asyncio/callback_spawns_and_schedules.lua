-- A done callback that starts a task and schedules a callback: they run in that order, later.
local function child(name) log("task", name) end
local fut = neap.Future()
fut:add_done_callback(function()
  log("done", fut:result())
  neap.create_task(child, "from done")
  loop:call_soon(log, "soon from done")
end)
loop:call_soon(function() fut:set_result(5) end)
loop:call_soon(log, "soon from main")
neap.create_task(child, "from main")
neap.sleep(1)
