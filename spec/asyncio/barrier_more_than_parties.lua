-- More than it takes: they pass in rounds, in the order in which they came.
local barrier = neap.Barrier(2)
local tasks = {}
for name in ("abcde"):gmatch "." do
  tasks[#tasks + 1] = neap.create_task(function()
    barrier:wait()
    log(name, now())
  end)
end
neap.sleep(1)
local n = 0
for _, task in ipairs(tasks) do n = n + (task:done() and 1 or 0) end
log(n, barrier:n_waiting())
barrier:wait()
neap.wait(tasks)
