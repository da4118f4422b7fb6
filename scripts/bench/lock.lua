-- 100 tasks, one lock: acquire, yield, release. One operation: one turn of that.
package.path = arg[0]:match("^(.*/)[^/]*$") .. "?.lua;" .. package.path
local neap = require "neap"
local report = require "report"

local n, k = tonumber(arg[1] or 1000000), 100
local lock, per, count, inside = neap.Lock(), n // k, 0, 0
local sleep = neap.sleep
local seconds
neap.run(function()
  local tasks = {}
  for i = 1, k do
    tasks[i] = neap.create_task(function()
      for _ = 1, per do
        lock:acquire()
        inside = inside + 1
        assert(inside == 1)
        sleep(0)
        inside = inside - 1
        count = count + 1
        lock:release()
      end
    end)
  end
  local loop = neap.get_running_loop()
  local start = loop:time()
  neap.gather(tasks)
  seconds = loop:time() - start
end)
assert(count == per * k)
report.report("lock", count, seconds)
