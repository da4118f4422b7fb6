-- 100 tasks, each arming a time-out of 1 to 10 s around something that completes at the next
-- turn, which ends the time-out. One operation: one such.
package.path = arg[0]:match("^(.*/)[^/]*$") .. "?.lua;" .. package.path
local neap = require "neap"
local report = require "report"

local n, k = tonumber(arg[1] or 1000000), 100
local per, count, seed = n // k, 0, 1
local sleep, timeout = neap.sleep, neap.timeout
local function delay()
  seed = (seed * 1103515245 + 12345) % 2147483648
  return 1 + seed % 9000 / 1000
end
local seconds
neap.run(function()
  local tasks = {}
  for i = 1, k do
    tasks[i] = neap.create_task(function()
      for _ = 1, per do
        do
          local _ <close> = timeout(delay())
          sleep(0)
        end
        count = count + 1
      end
    end)
  end
  local loop = neap.get_running_loop()
  local start = loop:time()
  neap.gather(tasks)
  seconds = loop:time() - start
end)
assert(count == per * k)
report.report("timers", count, seconds)
