-- The running loop is the current one in callbacks and tasks; outside none runs.
local ok, err = pcall(neap.get_running_loop)
if not ok then log(kind(err)) end
loop:call_soon(function() log("callback", neap.get_running_loop() == loop) end)
loop:run_until_complete(function()
  log("task", neap.get_running_loop() == loop, neap.get_event_loop() == loop)
end)
log(neap.get_event_loop() == loop)
