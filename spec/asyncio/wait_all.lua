-- wait gives what is done and what is pending, and raises no error of theirs.
local function child(name, delay)
  neap.current_task():set_name(name)
  neap.sleep(delay)
  if name == "bad" then error(neap.Error "not raised") end
end
local tasks = { neap.create_task(child, "a", 2), neap.create_task(child, "bad", 1),
  neap.create_task(child, "c", 3) }
local done, pending = neap.wait(tasks)
log(sorted(done), sorted(pending), now())
log { tasks[1]:exception(), tasks[2]:exception(), tasks[3]:exception(), n = 3 }
