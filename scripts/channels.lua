--- Producers and consumers in threads of their own, with channels between them, and a main
--- thread that waits for whatever comes first.

local neap = require "neap"
local thread = require "neap.thread"

local numbers = thread.Channel(16) -- 16 at most wait to be taken
local squares = thread.Channel(16)
local news = thread.Channel()      -- any number of them

-- Two threads make numbers. Where the channel is full, send waits: nobody runs ahead.
local function produce(name, first, last)
  for n = first, last do numbers:send(n) end
  news:send(name .. " has made its numbers")
end

-- Three threads take them, each the next one as soon as it is free. iter ends when the
-- channel is closed and nothing is left in it.
local function consume()
  local count = 0
  for n in numbers:iter() do
    squares:send { n = n, square = n * n } -- a copy of the table arrives
    count = count + 1
  end
  return count
end

-- What these functions have as upvalues crosses with them: channels by reference.
local producers = {
  assert(thread.start(produce, "the first producer", 1, 500)),
  assert(thread.start(produce, "the second producer", 501, 1000)),
}
local consumers = {}
for i = 1, 3 do consumers[i] = assert(thread.start(consume)) end

-- Whoever knows that nothing more will come closes the channel. Here that is a task, which
-- waits for the threads, in the order of the line of work.
local finish = neap.create_task(function()
  for _, producer in ipairs(producers) do producer:join() end
  numbers:close()
  local total = 0
  for _, consumer in ipairs(consumers) do total = total + consumer:join() end
  squares:close()
  return total
end)

-- select waits for the first of several channels that has something: it gives the channel
-- and the value, the channel and nil when it is closed and empty, or nil after the time.
local sum, messages = 0, {}
while true do
  local channel, value = thread.select({ squares, news }, 30)
  if channel == news then
    messages[#messages + 1] = value
  elseif channel == squares and value then
    sum = sum + value.square
  else
    assert(channel, "nothing came for 30 s")
    break -- all squares have come
  end
end
for message in function() return news:try_recv() end do messages[#messages + 1] = message end

table.sort(messages) -- who is first is different each time
for _, message in ipairs(messages) do print(message) end
print("numbers taken: " .. finish:await())
print("sum of the squares: " .. sum)
