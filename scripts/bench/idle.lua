-- Many tasks asleep at the same moment. One operation: a task; the sleep itself is not counted.
package.path = arg[0]:match("^(.*/)[^/]*$") .. "?.lua;" .. package.path
local neap = require "neap"
local report = require "report"

local n, delay = tonumber(arg[1] or 1000000), tonumber(arg[2] or 5)
local woke, asleep, peak = 0, 0, 0
local base = report.rss()
local sleep = neap.sleep
local function nap()
  asleep = asleep + 1
  if asleep > peak then peak = asleep end
  sleep(delay)
  asleep = asleep - 1
  woke = woke + 1
end

local seconds
neap.run(function()
  local loop = neap.get_running_loop()
  local start = loop:time()
  local last
  for _ = 1, n do
    last = neap.create_task(nap)
  end
  last:await()
  seconds = loop:time() - start - delay
end)
assert(woke == n and peak == n, "sleep too short")
report.report("idle", n, seconds, base)
