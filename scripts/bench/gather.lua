-- Gather 1,000 tasks that each return a number, and add up the results. One operation: a task.
package.path = arg[0]:match("^(.*/)[^/]*$") .. "?.lua;" .. package.path
local neap = require "neap"
local report = require "report"

local n, m = tonumber(arg[1] or 1000), 1000
local sum, seconds = 0, 0
local gather, create_task = neap.gather, neap.create_task
local function val(i)
  return i
end

neap.run(function()
  local loop = neap.get_running_loop()
  local start = loop:time()
  for _ = 1, n do
    local tasks = {}
    for i = 1, m do
      tasks[i] = create_task(val, i)
    end
    local results = gather(tasks)
    for i = 1, m do
      sum = sum + results[i]
    end
  end
  seconds = loop:time() - start
end)
assert(sum == n * m * (m + 1) // 2)
report.report("gather", n * m, seconds)
