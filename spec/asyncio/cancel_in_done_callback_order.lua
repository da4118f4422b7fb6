-- Cancelling several tasks in one step: their errors come in the order of cancelling.
local tasks, list = {}, {}
for name in ("abcd"):gmatch "." do
  tasks[name] = neap.create_task(function()
    local _f <close> = finally(function() log(name) end)
    neap.sleep(10)
  end)
  list[#list + 1] = tasks[name]
end
neap.sleep(0)
for name in ("cadb"):gmatch "." do tasks[name]:cancel() end
neap.wait(list)
