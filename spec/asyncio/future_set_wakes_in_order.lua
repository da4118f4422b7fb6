-- Futures that are set one after the other wake their tasks in that order.
local futures, tasks = {}, {}
for i = 0, 2 do
  futures[i] = neap.Future()
  tasks[i + 1] = neap.create_task(function() log(i, futures[i]:await()) end)
end
neap.sleep(0)
for _, i in ipairs { 2, 0, 1 } do futures[i]:set_result "value" end
neap.create_task(neap.sleep, 0):add_done_callback(function() log "later" end)
neap.gather(tasks)
turns(3)
