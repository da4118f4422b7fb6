--- Many threads: what they leave behind, and how they end.

local neap = require "neap"
local thread = require "neap.thread"
local helper = require "spec.helper"

local function threads()
  local pipe <close> = assert(io.popen "ls /proc/$PPID/task | wc -l")
  return tonumber(pipe:read "l")
end

local function resident()
  collectgarbage()
  collectgarbage()
  local file <close> = assert(io.open "/proc/self/statm")
  return tonumber((file:read "l":match "^%d+ (%d+)")) * 4096
end

local SANITIZED
do
  local maps <close> = assert(io.open "/proc/self/maps")
  SANITIZED = maps:read "a":find "lib[at]san" ~= nil
end

--- Does it n times, of which the first third is for warming up: nothing may be left.
local function flat(n, fn)
  for i = 1, n // 3 do fn(i) end
  local memory, descriptors, tasks = resident(), helper.descriptors(), threads()
  for i = n // 3 + 1, n do fn(i) end
  helper.await_descriptors(descriptors)
  for _ = 1, 2000 do
    if threads() <= tasks then break end
    neap.sleep(0.005)
  end
  assert.is_true(threads() <= tasks)
  local grown = resident() - memory
  if not SANITIZED then assert.is_true(grown < 4e6, "grown by " .. grown) end
end

local N = SANITIZED and 120 or helper.many(1000)

describe("memory stays flat #slow", function()
  it("over threads, one after the other", function()
    flat(N, function(i)
      assert.equal(i, thread.start(function(k) return k end, i):join())
    end)
  end)

  it("over loops in threads, ten at a time", function()
    flat(N // 10, function()
      local loops, futures = {}, {}
      for i = 1, 10 do
        loops[i] = assert(thread.start_loop())
        futures[i] = neap.run_coroutine_threadsafe(neap.sleep, loops[i], 0)
      end
      neap.gather(table.unpack(futures))
      for i = 1, 10 do
        loops[i]:stop()
        loops[i]:join()
      end
    end)
  end)

  it("over pools that are shut down", function()
    flat(N, function(i)
      local pool = thread.ThreadPoolExecutor(1)
      assert.equal(i, pool:submit(function(k) return k end, i):await())
      pool:shutdown()
    end)
  end)

  it("over pools that are garbage", function()
    local before = threads()
    flat(N // 10, function(i) -- each collects all that the specs have loaded
      assert.equal(i, thread.ThreadPoolExecutor(1):submit(function(k) return k end, i):await())
      collectgarbage()
      while threads() > before + 20 do neap.sleep(0.001) end
    end)
  end)

  it("over pools that had nothing to do", function()
    flat(N, function() thread.ThreadPoolExecutor(1):shutdown() end)
  end)

  it("over jobs", function()
    local loop <close> = thread.start_loop()
    local pool <close> = thread.ThreadPoolExecutor(2)
    local meeting = thread.Channel(0) -- has both workers there before anything is counted
    neap.gather(pool:submit(function() meeting:send(1) end),
      pool:submit(function() return meeting:recv() end))
    flat(30, function()
      local futures = {}
      for i = 1, N // 5 do
        futures[#futures + 1] = neap.run_coroutine_threadsafe(math.abs, loop, -i)
        futures[#futures + 1] = pool:submit(math.abs, -i)
        if i % 3 == 0 then futures[#futures]:cancel() end
      end
      neap.wait(futures)
    end)
  end)

  it("over loops that are closed while their threads are busy", function()
    flat(N // 5, function()
      local loop = neap.new_event_loop()
      loop:run_until_complete(function()
        for _ = 1, 3 do thread.start(neap.sleep, 100) end
        thread.ThreadPoolExecutor(1):submit(neap.sleep, 100)
        neap.sleep(0.001)
      end)
      loop:close()
    end)
  end)
end)

describe("threads that start threads", function()
  local function tree(depth, grow)
    if depth == 0 then return 1 end
    local t = require "neap.thread"
    local one, two = t.start(grow, depth - 1, grow), t.start(grow, depth - 1, grow)
    return one:join() + two:join()
  end

  it("that start threads", function()
    assert.equal(16, thread.start(tree, 4, tree):join())
  end)

  it("are stopped from the top", function()
    local said = thread.Channel()
    local function grow(depth, again)
      local t = require "neap.thread"
      if depth > 0 then t.start(again, depth - 1, again) end
      said:send(depth)
      neap.Future():await()
    end
    local t = thread.start(grow, 5, grow)
    for _ = 0, 5 do said:recv() end
    assert.is_true(t:stop(30))
    assert.is_false(t:is_alive())
  end)
end)

it("many calls from other threads do not hold up a loop's timers", function()
  local home, stop = neap.get_event_loop(), thread.Channel()
  local threads <close> = setmetatable({}, { -- luacheck: ignore
    __close = function(self) for _, t in ipairs(self) do t:stop() end end,
  })
  for i = 1, 2 do
    threads[i] = thread.start(function()
      while stop:try_recv() == nil do
        for _ = 1, 1000 do home:call_soon_threadsafe(math.abs, 1) end
        neap.sleep(0)
      end
    end)
  end
  for _ = 1, 20 do neap.sleep(0.001) end
  for _ = 1, 2 do stop:send(1) end
  for i = 1, 2 do threads[i]:join() end
end)

describe("a pool whose threads cannot begin", function()
  it("fails what it was given", function()
    local pool <close> = thread.ThreadPoolExecutor { workers = 2, memory_limit = 1000 }
    local futures = {}
    for i = 1, 5 do futures[i] = pool:submit(math.abs, -i) end
    neap.wait(futures)
    for i = 1, 5 do
      assert.matches("BrokenExecutor: no worker thread could be started",
        tostring(futures[i]:exception()))
    end
  end)
end)

it("a pool that is shut down does not wait for a job whose Future was completed", function()
  local pool <close> = thread.ThreadPoolExecutor(1)
  local go, ran = thread.Channel(), thread.Channel()
  local first = pool:submit(function() ran:send(0); go:recv() end)
  local second = pool:submit(function() ran:send(1) end)
  assert.equal(0, ran:recv())
  second:set_result "by hand"
  pool:shutdown(false, { cancel_futures = true })
  assert.equal("by hand", second:result())
  go:send(1)
  first:await()
  pool:shutdown()
  assert.is_nil((ran:try_recv()))
end)

it("a pool lives on when its module is loaded again", function()
  local pool <close> = thread.ThreadPoolExecutor(1)
  local loaded = package.loaded["neap.core.pool"]
  package.loaded["neap.core.pool"] = nil
  require "neap.core.pool"
  package.loaded["neap.core.pool"] = loaded
  assert.equal(1, pool:submit(math.abs, -1):await())
end)

it("a pool that is garbage may go before the jobs in its queue", function()
  local loop = neap.new_event_loop()
  local first
  loop:run_until_complete(function()
    local pool = thread.ThreadPoolExecutor(1)
    first = pool:submit(neap.sleep, 100)
    for _ = 1, 3 do pool:submit(neap.sleep, 100) end
  end)
  collectgarbage()
  loop:close()
  assert.is_true(first:cancelled())
end)

it("threads that are inside calls are left behind side by side #host", function()
  local result = helper.run([[
    local neap, thread = require "neap", require "neap.thread"
    local begun = thread.Channel()
    for _ = 1, 12 do thread.start(function() begun:send(1); os.execute "exec sleep 40" end) end
    for _ = 1, 12 do begun:recv() end
    local began = os.time() -- each takes 2 s
    neap.get_event_loop():close()
    os.exit(os.time() - began <= 15 and 3 or 4)]])
  assert.equal(3, result.code)
  assert.equal(12, select(2, result.err:gsub("left behind", "")))
end)

it("a loop that ends begins no job that comes late", function()
  neap.run(function()
    local home = neap.get_event_loop()
    for _ = 1, 3 do
      thread.start(function()
        while true do
          local ok, future = pcall(neap.run_coroutine_threadsafe, neap.sleep, home, 100)
          if not ok then break end -- it is closed
          future:cancel() -- so that nobody misses its outcome
          neap.sleep(0)
        end
      end)
    end
    neap.sleep(0.005)
  end) -- no task was destroyed
end)
