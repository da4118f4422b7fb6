-- One producer, one consumer, a queue bounded to 100. One operation: an item.
package.path = arg[0]:match("^(.*/)[^/]*$") .. "?.lua;" .. package.path
local neap = require "neap"
local report = require "report"

local n = tonumber(arg[1] or 2000000)
local queue, sum = neap.Queue(100), 0
local seconds
neap.run(function()
  local loop = neap.get_running_loop()
  local start = loop:time()
  local producer = neap.create_task(function()
    for i = 1, n do queue:put(i) end
  end)
  for _ = 1, n do sum = sum + queue:get() end
  producer:await()
  seconds = loop:time() - start
end)
assert(sum == n * (n + 1) // 2)
report.report("queue", n, seconds)
