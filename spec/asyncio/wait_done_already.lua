-- What is done already: nothing to wait for in each of the modes.
local good, bad = neap.Future(), neap.Future()
good:set_result(1)
bad:set_exception(neap.Error "bad")
local task = neap.create_task(neap.sleep, 1):set_name "task"
for _, when in ipairs { "first_completed", "first_exception" } do
  local done, pending = neap.wait({ good, bad, task }, { return_when = when })
  log(#done, #pending, now())
end
local done, pending = neap.wait({ good, task }, { return_when = "all_completed" })
log(#done, #pending, now(), bad:exception())
