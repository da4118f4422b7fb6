--- Work for a loop in another thread: blocking functions, which it runs one after the
--- other, and tasks, which wait at the same time. The main thread is free all the while.

local neap = require "neap"
local thread = require "neap.thread"

local loop = neap.get_event_loop()

-- A thread of the system with a Lua state and an event loop of its own. It ends with
-- <close>, with other:stop(), or with this loop.
local other <close> = assert(thread.start_loop())

-- Proof that nothing here is held up: a task that counts while the other thread works.
local ticks = 0
local ticker = neap.create_task(function()
  while true do
    neap.sleep(0.02)
    ticks = ticks + 1
  end
end)

local function report(title, start, expected)
  local seconds = loop:time() - start
  io.stderr:write(("%s: %.2f s\n"):format(title, seconds)) -- the exact time, if you look
  print(("%s: %s"):format(title, expected(seconds) and "as expected" or seconds))
  print("  the main thread was free: " .. tostring(ticks > 0))
  ticks = 0
end

-- 1. Two functions that block their thread. A copy of the function crosses, with its
-- upvalues: the channel is the same over there, everything else is copied.
do
  local done = thread.Channel()
  local function block(seconds)
    os.execute("sleep " .. seconds) -- some library that does not know of loops
    done:send(seconds)
  end

  local start = loop:time()
  other:call_soon_threadsafe(block, 0.6)
  other:call_soon_threadsafe(block, 0.3)
  for _ = 1, 2 do print("  a call of " .. done:recv() .. " s has ended") end
  report("two blocking calls, 0.6 s and 0.3 s, take 0.9 s", start,
    function(seconds) return seconds > 0.85 end)
end

-- 2. Two tasks that sleep as long. What comes back is a Future of this loop: await it,
-- cancel it, give it to neap.gather, like any other.
do
  local function nap(seconds)
    neap.sleep(seconds)
    return "a nap of " .. seconds .. " s has ended"
  end

  local start = loop:time()
  local long = neap.run_coroutine_threadsafe(nap, other, 3)
  local short = neap.run_coroutine_threadsafe(nap, other, 2)
  for future in neap.as_completed { long, short } do print("  " .. future:result()) end
  report("two tasks, 3 s and 2 s, take 3 s", start,
    function(seconds) return seconds < 5 end)
end

ticker:cancel()
