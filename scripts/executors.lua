--- Work for the processor, on all of them: the same function in this thread, in a pool of
--- threads and in a pool of processes. How long each took goes to standard error.

local neap = require "neap"
local thread = require "neap.thread"

local loop = neap.get_event_loop()

-- How many primes there are from `first` to `last`. All that it needs is inside of it, or
-- in its upvalues: it is copied to the workers, and their globals are not ours.
local function count_primes(first, last)
  local count = 0
  for n = first, last do
    local factor = 2
    while factor * factor <= n and n % factor ~= 0 do factor = factor + 1 end
    if n >= 2 and factor * factor > n then count = count + 1 end
  end
  return count
end

local PIECES, SIZE = 20, 10000

local function measure(title, fn)
  local start = loop:time()
  local sum = fn()
  io.stderr:write(("%-14s %.3f s\n"):format(title, loop:time() - start))
  print(("%-14s %d primes below %d"):format(title, sum, PIECES * SIZE))
end

local pieces = {}
for i = 1, PIECES do pieces[i] = i end

local function count_piece(i) return count_primes((i - 1) * SIZE, i * SIZE - 1) end

-- One after the other, and nothing else runs here meanwhile.
measure("this thread", function()
  local sum = 0
  for _, i in ipairs(pieces) do sum = sum + count_piece(i) end
  return sum
end)

local function with(executor)
  return function()
    local sum = 0
    -- map gives the results in order; the workers take the next piece when they are free.
    for count in executor:map(count_piece, pieces) do sum = sum + count end
    return sum
  end
end

-- The block's end shuts a pool down, which waits for its workers.
do
  local threads <close> = thread.ThreadPoolExecutor(2)
  measure("two threads", with(threads))
  -- submit is for single calls: it gives a Future at once.
  local future = threads:submit(count_primes, 0, 100)
  print("a single call: " .. future:await())
end
do
  local processes <close> = thread.ProcessPoolExecutor(2)
  measure("two processes", with(processes))

  -- A process may even crash. The call that it ran fails, and there is a new worker.
  local ok, err = pcall(function() return processes:submit(os.exit, 7):await() end)
  print("a worker that is gone:", ok, neap.BrokenExecutor:is(err))
  print("the next one: " .. processes:submit(count_primes, 0, 100):await())
end

-- For one call now and then nothing has to be set up. Awaits, so this task does; others run.
print("neap.to_thread: " .. neap.to_thread(count_primes, 0, 100))
