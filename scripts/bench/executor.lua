-- CPU work in pools of one and two workers: `executor.lua [processes|threads] [jobs]`. One
-- operation: a job. Then how many times as fast two are, and jobs that do nothing.
package.path = arg[0]:match("^(.*/)[^/]*$") .. "?.lua;" .. package.path
local neap = require "neap"
local thread = require "neap.thread"
local report = require "report"

local kind = arg[1] or "processes"
local n = tonumber(arg[2] or 40)
local new = kind == "threads" and thread.ThreadPoolExecutor or thread.ProcessPoolExecutor

-- About 25 ms.
local function work(seed)
  local x = seed
  for _ = 1, 2000000 do x = (x * 1103515245 + 12345) & 0x7fffffff end
  return x
end

local function none() end

local function timed(pool, fn, count)
  local list = {}
  for i = 1, count do list[i] = i end
  local loop = neap.get_event_loop()
  local start = loop:time()
  for _ in pool:map(fn, list) do end
  return loop:time() - start
end

--- Seconds for all jobs in a pool whose workers are there already.
local function run(workers, fn, count)
  local pool <close> = new(workers)
  local futures = {}
  for i = 1, workers do futures[i] = pool:submit(neap.sleep, 0.05) end
  neap.gather(futures)
  return timed(pool, fn, count)
end

local one, two = run(1, work, n), run(2, work, n)
report.report(kind .. "-1", n, one)
report.report(kind .. "-2", n, two)
print(("two workers are %.2f times as fast as one"):format(one / two))
report.report(kind .. "-empty", 20000, run(2, none, 20000))
