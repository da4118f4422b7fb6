-- Names are set and read; current_task is the running one.
local task
task = neap.create_task(function()
  log(neap.current_task():get_name(), neap.current_task() == task)
  neap.current_task():set_name "renamed"
end):set_name "first name"
log(task:get_name())
task:await()
log(task:get_name(), neap.current_task() == task)
task:set_name(5)
log(task:get_name())
