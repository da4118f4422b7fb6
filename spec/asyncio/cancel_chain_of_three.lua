-- A cancellation goes down a chain of awaits and comes back up.
local tasks = {}
local function task(name, fn)
  tasks[#tasks + 1] = neap.create_task(function()
    local _f <close> = finally(function() log(name) end)
    fn()
  end)
end
task("leaf", function() neap.sleep(10) end)
task("mid", function() tasks[1]:await() end)
task("top", function() tasks[2]:await() end)
neap.sleep(1)
tasks[3]:cancel "down"
log { tasks[1]:cancelling(), tasks[2]:cancelling(), tasks[3]:cancelling() }
neap.wait(tasks)
log { tasks[1]:cancelled(), tasks[2]:cancelled(), tasks[3]:cancelled() }
