-- The first that ends is enough; the others go on.
local function child(delay)
  neap.sleep(delay)
  log(neap.current_task():get_name(), now())
end
local tasks = {}
for i, item in ipairs { { "a", 2 }, { "b", 1 }, { "c", 3 } } do
  tasks[i] = neap.create_task(child, item[2]):set_name(item[1])
end
local done, pending = neap.wait(tasks, { return_when = "first_completed" })
log(sorted(done), sorted(pending), now())
done, pending = neap.wait(pending, { return_when = "first_completed" })
log(sorted(done), sorted(pending), now())
neap.wait(pending)
