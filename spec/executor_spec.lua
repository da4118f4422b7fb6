--- What executors share: map, loop:run_in_executor. The executor here runs its jobs as
--- tasks of the same loop.

local neap = require "neap"
local executor = require "neap.thread.executor"
local helper = require "spec.helper"

local catch, in_task = helper.catch, helper.in_task

--- Jobs are Futures, as those of a pool are; `limit` of them at a time.
local function fake(log)
  local pool = { running = 0, most = 0, submitted = 0 }
  function pool:submit(fn, ...)
    local future = neap.Future()
    self.running = self.running + 1
    self.submitted = self.submitted + 1
    self.most = math.max(self.most, self.running)
    local task = neap.create_task(fn, ...)
    future:add_done_callback(function()
      if future:cancelled() then
        if log then log[#log + 1] = "cancelled" end
        task:cancel()
      end
    end)
    task:add_done_callback(function()
      self.running = self.running - 1
      if future:done() or task:cancelled() then return end
      local err = task:exception()
      if err ~= nil then
        future:set_exception(err)
      else
        future:set_result(task:result())
      end
    end)
    return future
  end
  function pool:map(fn, source, options)
    return executor.map(self, 2, fn, source, options, "map")
  end
  return pool
end

local function collect(...)
  local list = {}
  for value in ... do list[#list + 1] = value end
  return list
end

describe("executor:map", function()
  helper.virtual_time(before_each, after_each)

  it("gives the results in the order of the list", function()
    for _, run in ipairs { helper.direct, in_task } do
      local pool = fake()
      assert.same({ 10, 20, 30, 40, 50 }, run(function()
        return collect(pool:map(function(x)
          neap.sleep(6 - x)
          return x * 10
        end, { 1, 2, 3, 4, 5 }))
      end))
    end
  end)

  it("gives all results of a call, and false for nil", function()
    local pool, seen = fake(), {}
    for a, b in pool:map(function(x)
      if x == 1 then return "a", "b" elseif x == 2 then return nil, "c" end
    end, { 1, 2, 3 }) do
      seen[#seen + 1] = { a, b }
    end
    assert.same({ { "a", "b" }, { false, "c" }, { false } }, seen)
  end)

  it("has twice as many calls in flight as there are workers, or what it is told", function()
    for _, case in ipairs { { nil, 4 }, { 1, 1 }, { 7, 7 }, { 100, 10 } } do
      local pool = fake()
      local list = {}
      for i = 1, 10 do list[i] = i end
      for value in pool:map(helper.pause, list, { in_flight = case[1] }) do
        assert.is_true(pool.submitted - value + 1 <= case[2] + 1)
      end
      assert.equal(10, pool.submitted)
      assert.equal(case[2], pool.most)
    end
  end)

  it("submits no more before a result is taken", function()
    local pool = fake()
    local map <close> = pool:map(helper.direct, { tostring, tostring, tostring, tostring,
      tostring, tostring })
    helper.settle(20)
    assert.equal(4, pool.submitted)
    assert.is_truthy(tostring(map):find("4 in flight", 1, true))
  end)

  it("takes lists with holes when they say how long they are", function()
    assert.same({ "1", "nil", "3", "nil" },
      collect(fake():map(tostring, { 1, nil, 3, n = 4 })))
    assert.same({}, collect(fake():map(tostring, {})))
  end)

  it("takes iterators, which may wait and give several values", function()
    local queue = neap.Queue()
    local pool, seen = fake(), {}
    neap.create_task(function()
      for i = 1, 6 do
        queue:put(i)
        neap.sleep(1)
      end
      queue:shutdown()
    end)
    local function items()
      local ok, item = pcall(queue.get, queue)
      if ok then return item, item * 2 end
    end
    for sum in pool:map(function(a, b) return a + b end, items) do
      seen[#seen + 1] = { sum, helper.elapsed() }
    end
    -- Each result comes at once, not when there is another item.
    assert.same({ { 3, 0 }, { 6, 1 }, { 9, 2 }, { 12, 3 }, { 15, 4 }, { 18, 5 } }, seen)
  end)

  it("asks an iterator for no more than what is in flight", function()
    local pool, asked = fake(), 0
    for value in pool:map(helper.pause, function()
      asked = asked + 1
      if asked <= 10 then return asked end
    end, { in_flight = 3 }) do
      helper.settle(20)
      assert.is_true(asked <= value + 3)
    end
    assert.equal(11, asked)
    assert.equal(3, pool.most)
  end)

  it("raises an error of a call in its place, and cancels the rest", function()
    local log, seen = {}, {}
    local pool = fake(log)
    local err = catch(function()
      for value in pool:map(function(x)
        if x == 2 then error("two", 0) end
        if x > 2 then neap.sleep(100) end
        return x
      end, { 1, 2, 3, 4, 5, 6, 7, 8 }) do seen[#seen + 1] = value end
    end)
    assert.equal("two", err)
    assert.same({ 1 }, seen)
    helper.settle(20)
    assert.equal(0, pool.running)
    assert.equal(#log, pool.submitted - 2)
    assert.equal(0, helper.elapsed())
  end)

  it("raises it where the iterator is called by hand, too", function()
    local pool = fake {}
    local map = pool:map(function(x)
      if x == 1 then error("one", 0) end
      neap.sleep(100)
    end, { 1, 2, 3 })
    assert.equal("one", catch(map))
    helper.settle(20)
    assert.equal(0, pool.running)
    assert.is_nil(map())
  end)

  it("cancels what is left when the loop is left early, and reports nothing", function()
    local log = {}
    local pool = fake(log)
    for value in pool:map(function(x)
      if x == 4 then error "nobody looks at it" end
      if x > 4 then neap.sleep(100) end
      return x
    end, { 1, 2, 3, 4, 5, 6, 7, 8 }) do
      helper.settle(20)
      if value == 2 then break end
    end
    helper.settle(20)
    assert.equal(0, pool.running)
    assert.equal(2, #log)
    collectgarbage()
    assert.same({}, helper.reports.take())
  end)

  it("cancels what is left when its task is cancelled, also while the iterator waits", function()
    for _, source in ipairs { { 1, 2, 3 }, function() neap.sleep(1000) end } do
      local pool = fake {}
      local task = helper.start(function()
        for _ in pool:map(neap.sleep, source) do end
      end)
      task:cancel()
      assert.is_true(helper.is_cancelled(catch(task.await, task)))
      helper.settle(20)
      assert.equal(0, pool.running)
    end
  end)

  it("raises errors of the iterator, and of what cannot be submitted, in their place", function()
    local pool, n = fake(), 0
    local map = pool:map(helper.pause, function()
      n = n + 1
      if n == 3 then error("source", 0) end
      return n
    end)
    assert.same({ 1, 2 }, { map(), map() })
    assert.equal("source", catch(map))
    local submit = pool.submit
    function pool:submit(fn, x)
      if x == 3 then error("submit", 0) end
      return submit(self, fn, x)
    end
    map = pool:map(helper.pause, { 1, 2, 3, 4 })
    assert.same({ 1, 2 }, { map(), map() })
    assert.equal("submit", catch(map))
    assert.is_nil(map())
  end)

  it("has a time for all results", function()
    for _, source in ipairs { { 1, 2, 5, 6 }, coroutine.wrap(function()
      for _, x in ipairs { 1, 2, 5, 6 } do coroutine.yield(x) end
    end) } do
      helper.restart()
      local pool, seen = fake {}, {}
      local err = catch(function()
        for x in pool:map(function(x) return neap.sleep(x, x) end, source, { timeout = 3 }) do
          seen[#seen + 1] = x
        end
      end)
      assert.is_true(neap.TimeoutError:is(err))
      assert.same({ 1, 2 }, seen)
      assert.equal(3, helper.elapsed())
      helper.settle(20)
      assert.equal(0, pool.running)
    end
  end)

  it("sends items in chunks", function()
    local function iterator(n)
      local i = 0
      return function()
        i = i + 1
        if i <= n then return i end
      end
    end
    for _, n in ipairs { 0, 1, 3, 4, 7, 8, 9 } do
      for _, source in ipairs { "list", "iterator" } do
        local list, pool, seen = { n = n }, fake(), {}
        for i = 1, n do list[i] = i end
        for a, b in pool:map(function(x)
          neap.sleep(0)
          if x == 5 then return nil, x end
          return x, -x
        end, source == "list" and list or iterator(n), { chunk = 4 }) do
          seen[#seen + 1] = { a, b }
        end
        assert.equal(n, #seen)
        for i, values in ipairs(seen) do
          assert.same(i == 5 and { false, 5 } or { i, -i }, values)
        end
        assert.equal((n + 3) // 4, pool.submitted)
      end
    end
    local pool, seen = fake {}, {}
    local err = catch(function()
      for x in pool:map(function(x)
        if x == 4 then error("four", 0) end
        return x
      end, { 1, 2, 3, 4, 5, 6, 7, 8, 9 }, { chunk = 2, in_flight = 5 }) do
        assert.is_true(pool.submitted <= #seen // 2 + 2 + 1)
        seen[#seen + 1] = x
      end
    end)
    assert.equal("four", err)
    assert.same({ 1, 2 }, seen)
  end)

  it("can be used by several tasks: each takes others", function()
    local pool, sum, tasks = fake(), 0, {}
    local map = pool:map(function(x) return neap.sleep(x % 3, x) end, { 1, 2, 3, 4, 5, 6, 7 })
    for i = 1, 3 do
      tasks[i] = neap.create_task(function()
        for x in map do sum = sum + x end
      end)
    end
    neap.gather(tasks)
    assert.equal(28, sum)
  end)

  it("refuses wrong arguments", function()
    local pool = fake()
    local function refused(pattern, ...)
      assert.matches(pattern, catch(pool.map, pool, ...))
    end
    refused("bad argument #1 to 'map' %(function expected, got nil%)", nil, {})
    refused("bad argument #2 to 'map' %(list or iterator expected, got number%)", print, 5)
    refused("bad argument #3 to 'map' %(table expected, got number%)", print, {}, 5)
    refused("unknown option 'inflight' to 'map'", print, {}, { inflight = 1 })
    refused("bad option 'in_flight' to 'map' %(integer of 1 or more expected, got 0%)", print, {},
      { in_flight = 0 })
    refused("bad option 'in_flight'", print, {}, { in_flight = 1.5 })
    refused("bad option 'chunk' to 'map' %(integer of 1 or more expected, got 0%)", print, {},
      { chunk = 0 })
    refused("bad option 'timeout' to 'map' %(seconds, 0 or more expected, got string%)", print,
      {}, { timeout = "1" })
    refused("bad option 'timeout'", print, {}, { timeout = 0 / 0 })
  end)
end)

describe("loop:run_in_executor", function()
  it("submits to the executor", function()
    local pool, loop = fake(), neap.get_event_loop()
    assert.equal(5, loop:run_in_executor(pool, math.max, 1, 5, 3):await())
    assert.equal(1, pool.submitted)
    in_task(function()
      assert.equal(6, neap.get_running_loop():run_in_executor(pool, math.max, 6):await())
    end)
  end)

  it("refuses what is no executor, no function, or another loop", function()
    local pool, loop = fake(), neap.get_event_loop()
    assert.matches("bad argument #1 to 'run_in_executor' %(executor expected, got number%)",
      catch(loop.run_in_executor, loop, 5, print))
    assert.matches("bad argument #2 to 'run_in_executor' %(function expected, got string%)",
      catch(loop.run_in_executor, loop, pool, "print"))
    local other <close> = neap.new_event_loop()
    assert.matches("another event loop", catch(other.run_in_executor, other, pool, print))
    assert.matches("event loop expected", catch(loop.run_in_executor, pool, pool, print))
  end)
end)
