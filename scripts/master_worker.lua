--- Master and workers: the main thread listens for jobs and prints results; a master's thread
--- takes the jobs from a channel and hands them to loops in two more threads. Results come
--- back while new jobs arrive. Each line of standard input is a job; type some, or:
---   seq 1000000 1000010 | neap scripts/master_worker.lua

local neap = require "neap"
local thread = require "neap.thread"
local tty = require "neap.tty"

-- Channels are the same in all threads; everything else that crosses is copied. The
-- capacity holds up who sends faster than others take.
local jobs = thread.Channel(100)
local results = thread.Channel(100)

-- The work, which the workers do: the largest prime factor of n, by trial.
local function largest_factor(n)
  local factor = 2
  while factor * factor <= n do
    if n % factor == 0 then n = n // factor else factor = factor + 1 end
  end
  return n
end

-- The master's thread. It goes on until the channel of jobs is closed and empty.
local master = assert(thread.start(function(count)
  local workers = {}
  for i = 1, count do workers[i] = assert(thread.start_loop { name = "worker-" .. i }) end
  local group <close> = neap.TaskGroup() -- the end of this function waits for all in it
  local turn = 0
  for job in jobs:iter() do
    turn = turn % count + 1 -- the workers take turns
    local future = neap.run_coroutine_threadsafe(largest_factor, workers[turn], job.n)
    -- Who waits for this result is a small task; the loop above goes on with the next job.
    group:create_task(function()
      job.factor = future:await()
      results:send(job)
    end)
  end
end, 2))

-- The main thread does two things at a time. First: it prints results, in the order of the
-- jobs, each as soon as it is there.
local printed = 0
local printer = neap.create_task(function()
  local came = {}
  for job in results:iter() do
    came[job.id] = job
    while came[printed + 1] do
      printed = printed + 1
      print(("%d: largest prime factor %d"):format(came[printed].n, came[printed].factor))
    end
  end
end)

-- Second: it listens. When there is no input at all, ten jobs arrive by themselves.
local sent = 0
local function send(n)
  sent = sent + 1
  jobs:send { id = sent, n = n }
end
for line in tty.stdin:lines() do
  local n = math.tointeger(tonumber(line))
  if n and n > 0 then send(n) end
end
if sent == 0 then
  for n = 600851475143, 600851475152 do
    send(n)
    neap.sleep(0.03)
  end
end
io.stderr:write(("%d of %d results came while jobs arrived\n"):format(printed, sent))

jobs:close()    -- no more jobs: what is in the channel is still done
master:join()   -- waits; an error over there would be raised here
results:close() -- no more results, either
printer:await()
print("jobs done: " .. printed)
