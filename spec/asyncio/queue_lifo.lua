-- A LIFO queue gives the last item first, and is bounded like the others.
local queue = neap.LifoQueue(3)
local task = neap.create_task(function()
  for n = 0, 4 do
    queue:put(n)
    log("put", n)
  end
end)
neap.sleep(1)
for _ = 1, 5 do
  log("got", queue:get())
  neap.sleep(1)
end
task:await()
