--- Two producers share a queue of two places with two consumers: who is faster waits for the
--- others. In the end the queue is shut down, and the consumers' loops end.

local neap = require "neap"

local queue = neap.Queue(2)

local function producer(name)
  for i = 1, 3 do queue:put(name .. i) end -- waits while two are in it already
  print("all of " .. name .. "is in the queue")
end

local function consumer(name)
  local n = 0
  for item in queue:iter() do
    print(name .. " works on " .. item)
    neap.sleep(0.04)
    queue:task_done()
    n = n + 1
  end
  return n
end

local consumers = { neap.create_task(consumer, "Ann"), neap.create_task(consumer, "Bob") }
neap.gather(neap.create_task(producer, "pear "), neap.create_task(producer, "fig "))
queue:join()
print("everything is done")
queue:shutdown()
local ann, bob = neap.gather(table.unpack(consumers))
print(("Ann did %d, Bob did %d"):format(ann, bob))

-- The same with the most urgent first.
local urgent = neap.PriorityQueue(0, function(a, b) return a.rank < b.rank end)
urgent:put { rank = 3, text = "tidy up" }
urgent:put { rank = 1, text = "put the fire out" }
urgent:put { rank = 2, text = "call the landlord" }
urgent:shutdown()
for job in urgent:iter() do print(job.rank, job.text) end
