-- Make, run and await trivial tasks, 10,000 at a time. One operation: a task.
package.path = arg[0]:match("^(.*/)[^/]*$") .. "?.lua;" .. package.path
local neap = require "neap"
local report = require "report"

local n, batch = tonumber(arg[1] or 1000000), 10000
local create_task = neap.create_task
local done = 0
local function tick()
  done = done + 1
end

local seconds
neap.run(function()
  local loop = neap.get_running_loop()
  local start = loop:time()
  for _ = 1, n // batch do
    local last
    for _ = 1, batch do
      last = create_task(tick)
    end
    last:await() -- they run in the order of their making
  end
  seconds = loop:time() - start
end)
assert(done == n)
report.report("spawn", n, seconds)
