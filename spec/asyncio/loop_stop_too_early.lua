-- stop before the end of what run_until_complete runs is an error; it can be run on.
local task = loop:create_task(function()
  neap.sleep(2)
  return "end"
end)
loop:call_later(1, function() loop:stop() end)
local ok = pcall(loop.run_until_complete, loop, task)
if not ok then log("stopped", now(), task:done()) end
log(loop:run_until_complete(task), now())
