-- A channel between two threads. One operation: a value from one to the other (throughput),
-- and there and back (latency: the median, after both have been idle).
package.path = arg[0]:match("^(.*/)[^/]*$") .. "?.lua;" .. package.path
local neap = require "neap"
local thread = require "neap.thread"
local report = require "report"

local n = tonumber(arg[1] or 2000000)
local idle = tonumber(arg[2] or 1000)
local loop = neap.get_event_loop()

local function produce(ch, value, count)
  if value then
    for _ = 1, count do ch:send(value) end
  else
    for i = 1, count do ch:send(i) end
  end
end

--- `count` values through a channel that another thread fills.
local function throughput(name, capacity, value, count)
  local ch = thread.Channel(capacity)
  local producer = thread.start(produce, ch, value, count)
  ch:recv()
  local start = loop:time()
  for _ = 2, count do ch:recv() end
  report.report(name, count - 1, loop:time() - start)
  producer:join()
end

--- The median of the times that a value needs to another thread and back.
local function latency(name, pause)
  local there, back = thread.Channel(), thread.Channel()
  local echo = thread.start(function(input, output)
    for v in input:iter() do output:send(v) end
  end, there, back)
  local times = {}
  for i = 1, idle do
    if pause > 0 then neap.sleep(pause) end
    local start = loop:time()
    there:send(i)
    back:recv()
    times[i] = loop:time() - start
  end
  there:close()
  echo:join()
  table.sort(times)
  report.report(name, 1, times[idle // 2])
end

throughput("channel", 1024, nil, n)
throughput("channel_unlimited", nil, nil, n)
throughput("channel_short_text", 1024, "a short text", n)
throughput("channel_table", 1024, { x = 1, y = 2 }, n // 10)
throughput("channel_100", 100, nil, n)
throughput("channel_meeting", 0, nil, n // 20)
latency("channel_there_and_back", 0)
latency("channel_idle_there_and_back", 0.001)
