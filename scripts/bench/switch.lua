-- 100 tasks yielding to the scheduler. One operation: a yield.
package.path = arg[0]:match("^(.*/)[^/]*$") .. "?.lua;" .. package.path
local neap = require "neap"
local report = require "report"

local n, k = tonumber(arg[1] or 5000000), tonumber(arg[2] or 100)
local per, total, sleep = n // k, 0, neap.sleep
local seconds
neap.run(function()
  local tasks = {}
  for i = 1, k do
    tasks[i] = neap.create_task(function()
      for _ = 1, per do
        sleep(0)
      end
      total = total + per
    end)
  end
  local loop = neap.get_running_loop()
  local start = loop:time()
  neap.gather(tasks)
  seconds = loop:time() - start
end)
assert(total == per * k)
report.report("switch", total, seconds)
