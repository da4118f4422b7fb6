--- Channels between threads that Lua started.

local neap = require "neap"
local thread = require "neap.thread"
local helper = require "spec.helper"

local catch, start = helper.catch, helper.start

--- Joins all.
local function join(threads)
  for _, t in ipairs(threads) do t:join() end
end

describe("a channel between threads", function()
  it("is one and the same on both sides", function()
    local there, back = thread.Channel(), thread.Channel()
    local t <close> = thread.start(function(input, output)
      for v in input:iter() do output:send { v, input } end
      output:close()
    end, there, back)
    for i = 1, 10 do there:send(i) end
    there:close()
    local n = 0
    for pair in back:iter() do
      n = n + 1
      assert.equal(n, pair[1])
      assert.equal(there, pair[2])
    end
    assert.equal(10, n)
    t:join()
  end)

  it("serves many producers and consumers, each value once", function()
    for _, capacity in ipairs { false, 0, 1, 64 } do
      local input, output = thread.Channel(capacity or nil), thread.Channel()
      local n, threads = 500, {}
      local producers = {}
      for i = 1, 2 do
        producers[i] = thread.start(function(ch)
          for j = 1, n do ch:send((i - 1) * n + j) end
        end, input)
        threads[i] = thread.start(function(from, to)
          local count = 0
          local function body()
            for v in from:iter() do
              count = count + 1
              to:send(v)
            end
          end
          neap.gather(body, body)
          return count
        end, input, output)
      end
      join(producers)
      input:close()
      local count = threads[1]:join() + threads[2]:join()
      assert.equal(2 * n, count)
      assert.equal(2 * n, #output)
      local seen = {}
      for _ = 1, 2 * n do
        local v = output:try_recv()
        assert.is_nil(seen[v])
        seen[v] = true
      end
    end
  end)

  it("leaves the loop free while a task waits", function()
    local ch, go, turns = thread.Channel(), thread.Channel(), 0
    local t <close> = thread.start(function(c, g) c:send(g:recv()) end, ch, go)
    neap.create_task(function()
      while turns < 10 do
        neap.sleep(0)
        turns = turns + 1
      end
      go:send "x"
    end)
    assert.equal("x", ch:recv())
    assert.equal(10, turns)
    t:join()
  end)

  it("keeps a loop alive that waits for it, from before it crossed", function()
    local ch = thread.Channel()
    local task = start(ch.recv, ch)
    local t <close> = thread.start(function(c)
      neap.sleep(0.005)
      c:send "late"
    end, ch)
    assert.equal("late", task:await())
    t:join()
  end)

  it("is not the matter of one side's life", function()
    local ch = thread.Channel()
    thread.start(function(c) for i = 1, 3 do c:send { i } end end, ch):join()
    for i = 1, 3 do assert.same({ i }, ch:recv()) end
    local t = thread.start(function()
      local own = require "neap.thread".Channel(2)
      own:send "a"
      own:send "b"
      return own
    end)
    local own = t:join()
    assert.equal("a", own:recv())
    assert.equal("b", own:recv())
    assert.equal("<Channel 0/2>", tostring(own))
  end)

  it("gives back what a thread that ends was handed", function()
    for _ = 1, 20 do
      local ch, ready = thread.Channel(), thread.Channel()
      local t = thread.start(function(c, r)
        for _ = 1, 3 do neap.create_task(c.recv, c) end
        neap.sleep(0)
        r:send(true)
        neap.Future():await()
      end, ch, ready)
      ready:recv()
      t:cancel()
      local n = 0
      for i = 1, 3 do ch:send(i) end
      t:stop()
      -- those that its tasks got before they were cancelled are gone
      local last = 0
      for v in ch.try_recv, ch do
        assert.is_true(v > last)
        last = v
        n = n + 1
      end
      assert.is_true(n <= 3)
    end
  end)

  it("wakes who waits when another thread closes it", function()
    local ch, full = thread.Channel(), thread.Channel(1)
    full:send(1)
    local tasks = { start(ch.recv, ch), start(thread.select, { ch }) }
    local sends = start(full.send, full, 2)
    local t <close> = thread.start(function(a, b)
      a:close()
      b:close()
    end, ch, full)
    assert.is_nil(tasks[1]:await())
    assert.same({ ch, nil }, { tasks[2]:await() })
    assert.is_true(neap.QueueShutDown:is(catch(sends.await, sends)))
    t:join()
  end)

  it("takes part in a select with a time-out", function()
    local list = { thread.Channel(), thread.Channel(0), thread.Channel(1) }
    local t <close> = thread.start(function(all)
      for i = 1, 30 do all[i % 3 + 1]:send(i) end
    end, list)
    local seen = 0
    while seen < 30 do
      local ch = thread.select(list, 10)
      assert(ch, "time-out")
      seen = seen + 1
    end
    assert.is_nil(thread.select(list, 0.001))
    t:join()
  end)
end)
