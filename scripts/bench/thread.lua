-- Threads: starting one and its end, a job there and back, many jobs at once. One line each.
local neap = require "neap"
local thread = require "neap.thread"

local loop = neap.get_event_loop()

local function measure(name, unit, n, fn)
  local start = loop:time()
  fn(n)
  local seconds = loop:time() - start
  print(("%-34s %10.2f us a %s"):format(name, seconds / n * 1e6, unit))
  return seconds
end

measure("start and join a thread", "thread", 1000, function(n)
  for _ = 1, n do thread.start(math.abs, -1):join() end
end)

measure("start a loop", "thread", 1000, function(n)
  for _ = 1, n do
    local other <close> = thread.start_loop() -- luacheck: ignore
  end
end)

do
  local other <close> = thread.start_loop()
  measure("run_coroutine_threadsafe and await", "call", 20000, function(n)
    for _ = 1, n do neap.run_coroutine_threadsafe(math.abs, other, -1):await() end
  end)
end

do
  local pool <close> = thread.ThreadPoolExecutor(1)
  pool:submit(math.abs, -1):await()
  measure("submit and await, one worker", "call", 20000, function(n)
    for _ = 1, n do pool:submit(math.abs, -1):await() end
  end)
  measure("submit many, then await, one worker", "call", 100000, function(n)
    local futures = {}
    for i = 1, n do futures[i] = pool:submit(math.abs, -i) end
    for i = 1, n do futures[i]:await() end
  end)
end
