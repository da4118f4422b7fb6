-- all_tasks has what is not done, the running task included.
neap.current_task():set_name "main"
for n = 1, 3 do neap.create_task(neap.sleep, n):set_name("child " .. n) end
log(sorted(neap.all_tasks()))
neap.sleep(1.5)
log(sorted(neap.all_tasks()))
neap.sleep(2)
log(sorted(neap.all_tasks()))
