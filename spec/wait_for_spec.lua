--- wait_for: one thing with a limit of time.

local neap = require "neap"
local helper = require "spec.helper"

local catch, catch_in_task, in_task = helper.catch, helper.catch_in_task, helper.in_task
local elapsed, both = helper.elapsed, helper.both
local TimeoutError, CancelledError = neap.TimeoutError, neap.CancelledError

local loop
helper.virtual_time(before_each, after_each)
before_each(function() loop = neap.get_event_loop() end)

--- Waits until it is cancelled, cleans up for `seconds`, and goes on as `ending` says.
local function stubborn(seconds, ending, ...)
  pcall(neap.sleep, 1e6)
  neap.current_task():uncancel()
  neap.sleep(seconds)
  return ending(...)
end

local function give(...) return ... end

describe("wait_for", function()
  describe("in time", function()
    it("gives all results", function()
      both(function(run)
        assert.same({ n = 3, 1, nil, 3 }, table.pack(run(neap.wait_for, function(...)
          neap.sleep(0.5)
          return ...
        end, 1, 1, nil, 3)))
        assert.equal(0, select("#", run(neap.wait_for, neap.sleep, 1, 0.5)))
        assert.equal(1, elapsed())
      end)
    end)

    it("takes tasks, futures, functions, callable objects and coroutines", function()
      both(function(run)
        local future = neap.Future()
        loop:call_later(0.5, future.set_result, future, "future")
        local object = setmetatable({}, { __call = function(_, x) return x end })
        assert.equal("task", run(neap.wait_for, neap.create_task(neap.sleep, 0.1, "task"), 1))
        assert.equal("future", run(neap.wait_for, future, 1))
        assert.equal("function", run(neap.wait_for, neap.sleep, 1, 0.1, "function"))
        assert.equal("object", run(neap.wait_for, object, 1, "object"))
        assert.equal("coroutine", run(neap.wait_for, coroutine.create(neap.sleep), 1, 0.1,
          "coroutine"))
      end)
    end)

    it("raises its very error", function()
      both(function(run)
        local value = {}
        assert.equal(value, catch(run, neap.wait_for, function()
          neap.sleep(0)
          error(value)
        end, 1))
      end)
    end)

    it("raises the CancelledError of what others cancelled", function()
      both(function(run)
        local task = neap.create_task(neap.sleep, 60)
        loop:call_later(0.5, task.cancel, task, "others")
        local err = catch(run, neap.wait_for, task, 1)
        assert.is_true(CancelledError:is(err))
        assert.equal("others", err.message)
        run(neap.sleep, 0)
      end)
    end)

    it("gives at once what is done, whatever the limit", function()
      both(function(run)
        local future, failed = neap.Future(), neap.Future()
        future:set_result "there"
        failed:set_exception "failed"
        run(function()
          local ran
          local other = neap.create_task(function() ran = true end)
          for _, limit in ipairs { 1, 0, -1 } do
            assert.equal("there", neap.wait_for(future, limit))
            assert.equal("failed", catch(neap.wait_for, failed, limit))
          end
          assert.equal("there", neap.wait_for(future, nil))
          assert.is_nil(ran)
          other:await()
        end)
      end)
    end)

    it("leaves no deadline behind", function()
      local n = helper.many(20000)
      in_task(function()
        for _ = 1, n do neap.wait_for(neap.sleep, 3600, 0) end
      end)
      assert.equal(0, elapsed())
      neap.sleep(1)
      assert.equal(1, elapsed())
    end)

    it("has no limit for nil, and hardly one for endless", function()
      both(function(run)
        assert.equal("a", run(neap.wait_for, neap.sleep, nil, 1e6, "a"))
        assert.equal("b", run(neap.wait_for, neap.sleep, math.huge, 1e6, "b"))
      end)
    end)
  end)

  describe("too late", function()
    it("cancels it, waits for its end and raises TimeoutError", function()
      both(function(run)
        local closed
        local task = neap.create_task(function()
          local _ <close> = setmetatable({}, { __close = function()
            neap.sleep(2)
            closed = true
          end })
          neap.sleep(60)
        end)
        local err = catch(run, neap.wait_for, task, 1)
        assert.is_true(TimeoutError:is(err))
        assert.is_true(closed)
        assert.is_true(task:cancelled())
        assert.equal(3, elapsed())
      end)
    end)

    it("cancels a future", function()
      both(function(run)
        local future = neap.Future()
        assert.is_true(TimeoutError:is(catch(run, neap.wait_for, future, 1)))
        assert.is_true(future:cancelled())
        assert.equal(1, elapsed())
      end)
    end)

    it("with a limit of 0 or less, a new function does not even begin", function()
      both(function(run)
        for _, limit in ipairs { 0, -1, -math.huge } do
          local ran
          assert.is_true(TimeoutError:is(catch(run, neap.wait_for, function() ran = true end,
            limit)))
          assert.is_nil(ran)
          local task = neap.create_task(neap.sleep, 60)
          neap.sleep(0)
          assert.is_true(TimeoutError:is(catch(run, neap.wait_for, task, limit)))
          assert.is_true(task:cancelled())
          assert.is_true(TimeoutError:is(catch(run, neap.wait_for, neap.Future(), limit)))
        end
        assert.equal(0, elapsed())
      end)
    end)

    it("gives the result of what swallows the cancellation", function()
      both(function(run)
        assert.equal("late", run(neap.wait_for, stubborn, 1, 2, give, "late"))
        assert.equal(3, elapsed())
      end)
    end)

    it("raises the error of what fails while it is cancelled", function()
      both(function(run)
        local value = {}
        assert.equal(value, catch(run, neap.wait_for, stubborn, 1, 2, error, value))
      end)
    end)

    it("is no cancellation of the caller", function()
      both(function(run)
        run(function()
          catch(neap.wait_for, neap.sleep, 1, 60)
          neap.sleep(1)
          local task = neap.current_task()
          assert.equal(0, task and task:cancelling() or 0)
        end)
      end)
    end)

    it("for 10,000 at the same moment", function()
      local tasks, n = {}, helper.many(10000)
      for i = 1, n do tasks[i] = neap.create_task(neap.wait_for, neap.sleep, 1, 60) end
      local results = neap.gather(tasks, { return_exceptions = true })
      for i = 1, n do
        if not TimeoutError:is(results[i]) then assert.equal(i, results[i]) end
      end
      assert.equal(1, elapsed())
    end)
  end)

  describe("when the caller is cancelled", function()
    it("cancels it, waits for its end, and raises the caller's cancellation", function()
      local child = neap.create_task(function()
        local _ <close> = setmetatable({}, { __close = function() neap.sleep(2) end })
        neap.sleep(60)
      end)
      local task = neap.create_task(neap.wait_for, child, 10)
      neap.sleep(1)
      task:cancel "outside"
      neap.sleep(1)
      assert.is_false(task:done())
      local err = catch(task.await, task)
      assert.equal("outside", err.message)
      assert.is_true(child:cancelled() and task:cancelled())
      assert.equal(3, elapsed())
    end)

    it("while what was too late still ends: CancelledError", function()
      local task = neap.create_task(neap.wait_for, function()
        local _ <close> = setmetatable({}, { __close = function()
          neap.sleep(5)
        end })
        neap.sleep(60)
      end, 1)
      neap.sleep(2)
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.is_true(task:cancelled())
    end)

    it("and it ends well all the same: the result", function()
      local task = neap.create_task(neap.wait_for, stubborn, 10, 1, give, "result")
      neap.sleep(1)
      task:cancel()
      assert.equal("result", task:await())
      assert.equal(1, task:cancelling())
    end)

    it("and it fails: its error", function()
      local value = {}
      local task = neap.create_task(neap.wait_for, stubborn, 10, 1, error, value)
      neap.sleep(1)
      task:cancel()
      assert.equal(value, catch(task.await, task))
    end)

    it("when it was woken by the result already", function()
      local future = neap.Future()
      local task = neap.create_task(neap.wait_for, future, 10)
      neap.sleep(1)
      future:set_result "lost"
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.equal("lost", future:result())
    end)

    it("in the turn of the deadline, before and after", function()
      for _, first in ipairs { "cancel", "deadline" } do
        local task
        local function cancel() task:cancel() end
        if first == "cancel" then loop:call_later(1, cancel) end
        task = neap.create_task(neap.wait_for, neap.sleep, 1, 60)
        neap.sleep(0)
        if first == "deadline" then loop:call_later(1, cancel) end
        assert.is_true(CancelledError:is(catch(task.await, task)))
        assert.is_true(task:cancelled())
      end
    end)

    it("after it swallowed the cancellation: raised again at once", function()
      local ran
      local future = neap.Future()
      future:set_result()
      for _, what in ipairs { function() ran = true end, future } do
        local task = neap.create_task(function()
          pcall(neap.sleep, 60)
          return neap.wait_for(what, 1)
        end)
        neap.sleep(0)
        task:cancel()
        assert.is_true(CancelledError:is(catch(task.await, task)))
      end
      assert.is_nil(ran)
    end)
  end)

  describe("with the result in the turn of the deadline", function()
    it("the result first: in time", function()
      both(function(run)
        local future = neap.Future()
        loop:call_later(1, future.set_result, future, "in time")
        assert.equal("in time", run(neap.wait_for, future, 1))
        assert.equal(1, elapsed())
      end)
    end)

    it("the deadline first: too late", function()
      both(function(run)
        local future, cancelled = neap.Future(), nil
        run(function()
          neap.create_task(function() -- runs when the deadline is armed
            loop:call_later(1, function() cancelled = future:cancelled() end)
          end)
          assert.is_true(TimeoutError:is(catch(neap.wait_for, future, 1)))
        end)
        assert.is_true(cancelled)
      end)
    end)

    for _, first in ipairs { "unit", "deadline" } do
      it("a unit of a semaphore goes on to the next, the " .. first .. " first", function()
        local sem = neap.Semaphore(1):acquire()
        if first == "unit" then loop:call_later(1, sem.release, sem) end
        local late = neap.create_task(neap.wait_for, sem.acquire, 1, sem)
        local other = neap.create_task(function()
          neap.sleep(0.5)
          sem:acquire()
        end)
        neap.sleep(0)
        if first == "deadline" then loop:call_later(1, sem.release, sem) end
        assert.is_true(TimeoutError:is(catch(late.await, late)))
        other:await()
        assert.equal(1, elapsed())
        assert.is_true(sem:locked())
      end)
    end
  end)

  describe("in a cycle", function()
    it("ends when the time of one is up", function()
      local one, two
      one = neap.create_task(function() return neap.wait_for(two, 1) end)
      two = neap.create_task(function() return neap.wait_for(one, 2) end)
      assert.is_false(pcall(one.await, one))
      assert.is_false(pcall(two.await, two))
      assert.equal(1, elapsed())
    end)

    it("ends when there was no time at all", function()
      local one, two
      one = neap.create_task(function()
        neap.sleep(0)
        return neap.wait_for(two, 0)
      end)
      two = neap.create_task(function() return one:await() end)
      assert.is_false(pcall(one.await, one))
      assert.is_false(pcall(two.await, two))
    end)

    it("ends when a task cancels itself and then awaits one that awaits it", function()
      local one, two
      one = neap.create_task(function()
        neap.sleep(0)
        neap.current_task():cancel()
        return two:await()
      end)
      two = neap.create_task(function() return one:await() end)
      assert.is_true(CancelledError:is(catch(one.await, one)))
      assert.is_true(CancelledError:is(catch(two.await, two)))
    end)

    it("of one is an error", function()
      local task
      task = neap.create_task(function() return neap.wait_for(task, 1) end)
      assert.matches("a task cannot await itself", catch(task.await, task))
    end)
  end)

  it("50,000 deep times out from the outside", function()
    local n, ended = helper.many(50000), 0
    local function nest(depth)
      local _ <close> = setmetatable({}, { __close = function() ended = ended + 1 end })
      if depth == n then return neap.sleep(1e6) end
      return (neap.wait_for(nest, 1e5, depth + 1))
    end
    assert.is_true(TimeoutError:is(catch(neap.wait_for, nest, 1, 1)))
    assert.equal(n, ended)
    assert.equal(1, elapsed())
  end)

  it("50,000 deep, through all kinds of waits, is cancelled", function()
    local n, ended = helper.many(50000), 0
    local nest
    local kinds = {
      function(depth) return neap.wait_for(nest, 1e5, depth) end,
      function(depth) return neap.gather(function() return nest(depth) end) end,
      function(depth) return neap.create_task(nest, depth):await() end,
      function(depth)
        local g <close> = neap.TaskGroup()
        g:create_task(nest, depth)
      end,
      function(depth)
        local t <close> = neap.timeout(1e5)
        assert(t)
        return neap.create_task(nest, depth):await()
      end,
    }
    function nest(depth)
      local _ <close> = setmetatable({}, { __close = function() ended = ended + 1 end })
      if depth == n then return neap.sleep(1e6) end
      return (kinds[depth % #kinds + 1](depth + 1))
    end
    local task = neap.create_task(nest, 1)
    neap.sleep(1)
    task:cancel()
    assert.is_true(CancelledError:is(catch(task.await, task)))
    assert.equal(n, ended)
  end)

  describe("works", function()
    it("in a generator", function()
      both(function(run)
        local got = {}
        run(function()
          for value in coroutine.wrap(function()
            for i = 1, 3 do
              local ok, x = pcall(neap.wait_for, neap.sleep, 1, i * 0.6, i)
              coroutine.yield(ok and x or "late")
            end
          end) do got[#got + 1] = value end
        end)
        assert.same({ 1, "late", "late" }, got)
      end)
    end)

    it("in a comparison at top level, not in one in a task", function()
      table.sort({ 2, 1 }, function(a, b)
        assert.is_true(TimeoutError:is(catch(neap.wait_for, neap.sleep, 1, 60)))
        return a < b
      end)
      local ran
      assert.matches("cannot wait in 'neap.wait_for' here: .*'table.sort'",
        catch_in_task(table.sort, { 2, 1 }, function(a, b)
          neap.wait_for(function() ran = true end, 1)
          return a < b
        end))
      neap.sleep(0)
      assert.is_nil(ran)
    end)
  end)

  it("refuses what it cannot wait for, and starts nothing", function()
    local tasks = #neap.all_tasks()
    both(function(run)
      assert.matches("bad argument #1 to '.-wait_for' %(awaitable expected .* got number%)",
        catch(run, function() neap.wait_for(5, 1) end))
      assert.matches("bad argument #1 to '.-wait_for' %(value expected%)",
        catch(run, function() neap.wait_for() end))
      assert.matches("bad argument #2 to '.-wait_for' %(number expected, got string%)",
        catch(run, function() neap.wait_for(print, "soon") end))
      assert.matches("bad argument #2 to '.-wait_for' %(seconds expected, got NaN%)",
        catch(run, function() neap.wait_for(print, 0 / 0) end))
    end)
    assert.equal(tasks, #neap.all_tasks())
    local other = neap.new_event_loop()
    local future = other:create_future()
    assert.matches("cannot await a Future that belongs to another event loop",
      catch(neap.wait_for, future, 1))
    other:close()
  end)

  it("names its tasks' callers in the report of a deadlock", function()
    local err = catch(neap.wait_for, neap.Future(), nil)
    assert.is_true(neap.DeadlockError:is(err))
    assert.matches("waits in 'neap.wait_for'", err.message)
  end)
end)
