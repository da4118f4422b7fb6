--- Futures: outcomes set from outside, waiting for them, done-callbacks.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

describe("a future", function()
  local reports = helper.reports

  describe("with a result", function()
    it("gives it to who waits and to who comes later", function()
      local future = neap.Future()
      local task = neap.create_task(function() return future:await() end)
      settle()
      assert.is_false(task:done())
      future:set_result(1, nil, 3, nil)
      local want = { 1, nil, 3, nil, n = 4 }
      assert.same(want, table.pack(task:await()))
      assert.same(want, table.pack(future:await()))
      assert.same(want, table.pack(future:result()))
      assert.is_nil(future:exception())
      assert.is_true(future:done())
      assert.is_false(future:cancelled())
    end)

    it("may have none, a nil or a table", function()
      local none, one, list = neap.Future(), neap.Future(), neap.Future()
      local value = { 1, 2 }
      none:set_result()
      one:set_result(nil)
      list:set_result(value)
      assert.equal(0, select("#", none:await()))
      assert.equal(1, select("#", one:await()))
      assert.equal(value, list:await())
    end)

    it("is done but once", function()
      local ways = {
        function(f) f:set_result(1) end,
        function(f) f:set_exception "x" end,
        function(f) f:cancel() end,
      }
      for _, way in ipairs(ways) do
        local future = neap.Future()
        way(future)
        for i = 1, 2 do
          local err = catch(ways[i], future)
          assert.is_true(neap.InvalidStateError:is(err))
          assert.equal("invalid state", err.message)
        end
        assert.is_false(future:cancel())
        pcall(future.result, future)
      end
    end)

    it("wakes the root", function()
      local future = neap.Future()
      neap.get_event_loop():call_soon(future.set_result, future, "x")
      assert.equal("x", future:await())
    end)
  end)

  describe("with an error", function()
    it("raises the very value", function()
      for _, value in ipairs { "text", false, 7, {}, neap.Error "x" } do
        local future = neap.Future()
        local task = neap.create_task(function() return future:await() end)
        settle()
        future:set_exception(value)
        assert.equal(value, catch(task.await, task))
        assert.equal(value, catch(future.await, future))
        assert.equal(value, catch(future.result, future))
        assert.equal(value, future:exception())
      end
    end)

    it("needs one", function()
      local future = neap.Future()
      assert.matches("an error is needed", catch(future.set_exception, future, nil))
      assert.has_error(function() future:set_exception() end)
      assert.is_false(future:done())
    end)

    it("is reported when nobody looks at it", function()
      do
        local future = neap.Future()
        future:set_exception "lost"
      end
      collectgarbage()
      collectgarbage()
      local list = reports.take()
      assert.equal(1, #list)
      assert.equal("Future exception was never retrieved", list[1].message)
      assert.equal("lost", list[1].exception)
      assert.equal("<Future failed>", tostring(list[1].future))
    end)

    it("is not reported when somebody looked", function()
      local future = neap.Future()
      future:set_exception "seen"
      assert.equal("seen", future:exception())
      future = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.equal(0, #reports)
    end)
  end)

  describe("while it is pending", function()
    it("says so", function()
      local future = neap.Future()
      assert.is_false(future:done())
      assert.is_false(future:cancelled())
      local err = catch(future.result, future)
      assert.is_true(neap.InvalidStateError:is(err))
      assert.equal("Result is not ready.", err.message)
      err = catch(future.exception, future)
      assert.is_true(neap.InvalidStateError:is(err))
      assert.equal("Exception is not set.", err.message)
      assert.equal("<Future pending>", tostring(future))
    end)

    it("is a deadlock for a main chunk that waits alone", function()
      local future = neap.Future()
      local err = catch(future.await, future)
      assert.is_true(neap.DeadlockError:is(err))
      assert.matches("the main chunk waits in 'await' at .- for <Future pending>", err.message)
    end)

    it("is a deadlock that names the tasks that wait too", function()
      local future = neap.Future()
      local task = neap.create_task(function() future:await() end):set_name "stuck"
      local err = catch(task.await, task)
      assert.is_true(neap.DeadlockError:is(err))
      assert.matches("Task%-%d+ \"stuck\" waits in 'await' at .- for <Future pending> "
        .. "%(created at .-%)", err.message)
      settle()
    end)
  end)

  describe("when it is cancelled", function()
    it("raises CancelledError with the message", function()
      local future = neap.Future()
      local task = neap.create_task(function() return future:await() end)
      settle()
      assert.is_true(future:cancel "why")
      assert.is_true(future:cancelled())
      assert.is_true(future:done())
      assert.equal("<Future cancelled>", tostring(future))
      for _, f in ipairs { future.await, future.result, future.exception } do
        local err = catch(f, future)
        assert.is_true(neap.CancelledError:is(err))
        assert.equal("why", err.message)
      end
      local err = catch(task.await, task)
      assert.is_true(neap.CancelledError:is(err))
      assert.is_true(task:cancelled())
      assert.equal(0, task:cancelling())
    end)

    it("is not cancelled twice", function()
      local future = neap.Future()
      assert.is_true(future:cancel())
      assert.is_false(future:cancel())
    end)

    it("is cancelled by the cancellation of who awaits it", function()
      local future = neap.Future()
      local task = neap.create_task(function() future:await() end)
      settle()
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
      assert.is_true(future:cancelled())
    end)

    it("takes the others who wait along", function()
      local future = neap.Future()
      local a = neap.create_task(function() future:await() end)
      local b = neap.create_task(function() future:await() end)
      settle()
      a:cancel()
      settle()
      assert.is_true(b:cancelled())
      assert.equal(0, b:cancelling())
    end)
  end)

  describe("with a done-callback", function()
    it("has the loop call it with the future", function()
      local future, got = neap.Future(), nil
      future:add_done_callback(function(...) got = table.pack(...) end)
      future:set_result(1)
      assert.is_nil(got)
      settle()
      assert.same({ future, n = 1 }, got)
    end)

    it("calls it soon when it is done already", function()
      local future, got = neap.Future(), nil
      future:cancel()
      future:add_done_callback(function(f) got = f end)
      assert.is_nil(got)
      settle()
      assert.equal(future, got)
    end)

    it("calls them in the order of adding, the same one as often as added", function()
      local order, add = helper.log()
      local future = neap.Future()
      local function a() add "a" end
      future:add_done_callback(a)
      future:add_done_callback(function() add "b" end)
      future:add_done_callback(a)
      future:set_result()
      settle()
      assert.same({ "a", "b", "a" }, order)
    end)

    it("removes all of one, and tells how many", function()
      local order, add = helper.log()
      local future = neap.Future()
      local function a() add "a" end
      local function b() add "b" end
      for _, f in ipairs { a, b, a, a } do future:add_done_callback(f) end
      assert.equal(3, future:remove_done_callback(a))
      assert.equal(0, future:remove_done_callback(a))
      assert.equal(0, future:remove_done_callback(print))
      future:set_result()
      settle()
      assert.same({ "b" }, order)
      assert.equal(0, future:remove_done_callback(b))
    end)

    it("gets tasks as well, with any outcome", function()
      local order, add = helper.log()
      local tasks = {
        neap.create_task(function() return 1 end),
        neap.create_task(error, "x"),
        neap.create_task(neap.sleep, 10),
      }
      for i, task in ipairs(tasks) do
        task:add_done_callback(function(t)
          assert.equal(task, t)
          add(i)
        end)
      end
      settle()
      tasks[3]:cancel()
      settle()
      assert.equal(3, table.remove(order)) -- the others end in any order
      table.sort(order)
      assert.same({ 1, 2 }, order)
      assert.equal("x", tasks[2]:exception())
    end)

    it("runs between tasks, in the order of becoming ready #ordered", function()
      local order, add = helper.log()
      local future = neap.Future()
      neap.create_task(function()
        future:await()
        add "first"
      end)
      settle()
      future:add_done_callback(function() add "second" end)
      neap.create_task(function()
        future:await()
        add "third"
      end)
      settle()
      future:set_result()
      settle()
      assert.same({ "first", "second", "third" }, order)
    end)

    it("cannot wait", function()
      local future = neap.Future()
      future:add_done_callback(function() neap.sleep(0) end)
      future:set_result()
      settle()
      local list = reports.take()
      assert.equal(1, #list)
      assert.matches("cannot wait in 'neap.sleep' inside a loop callback", list[1].exception)
    end)

    it("may add and remove others", function()
      local order, add = helper.log()
      local future = neap.Future()
      local function last() add "last" end
      future:add_done_callback(function(f)
        add "first"
        f:remove_done_callback(last)
        f:add_done_callback(function() add "added" end)
      end)
      future:add_done_callback(last)
      future:set_result()
      settle()
      -- it was scheduled already, as in asyncio
      assert.same({ "first", "last", "added" }, order)
    end)

    it("that fails goes to the exception handler; the others run", function()
      local ran = false
      local future = neap.Future()
      future:add_done_callback(function() error("bad", 0) end)
      future:add_done_callback(function() ran = true end)
      future:set_result()
      settle()
      assert.is_true(ran)
      assert.equal("bad", reports.take()[1].exception)
    end)

    it("must be callable", function()
      local future = neap.Future()
      assert.has_error(function() future:add_done_callback() end)
      assert.has_error(function() future:add_done_callback(nil) end)
      assert.has_error(function() future:add_done_callback(12) end)
    end)
  end)

  describe("of a loop", function()
    it("is made by loop:create_future and neap.Future", function()
      local loop = neap.get_event_loop()
      local future = loop:create_future()
      loop:call_soon(future.set_result, future, 5)
      assert.equal(5, loop:run_until_complete(future))
      in_task(function()
        local inner = neap.Future()
        inner:set_result(6)
        assert.equal(6, inner:await())
      end)
    end)

    it("is let go by a wait that is over", function()
      local weak = setmetatable({}, { __mode = "k" })
      do
        local future = neap.Future()
        weak[future] = true
        local task = neap.create_task(function() future:await() end)
        settle()
        task:cancel()
      end
      settle()
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end)
  end)

  it("wakes thousands of tasks", function()
    local future, n, many = neap.Future(), 0, helper.many(10000)
    for _ = 1, many do
      neap.create_task(function()
        local one = future:await()
        n = n + one
      end)
    end
    settle()
    future:set_result(1)
    settle()
    assert.equal(many, n)
  end)
end)
