--- Tasks: making, awaiting, results, errors, states, names, who is running.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

describe("a task", function()
  local reports = helper.reports

  describe("when it is created", function()
    it("does not run before its creator lets go", function()
      local ran = false
      local task = neap.create_task(function() ran = true end)
      assert.is_false(ran)
      assert.is_false(task:done())
      task:await()
      assert.is_true(ran)
    end)

    it("runs in the order of creation #ordered", function()
      local order, add = helper.log()
      for i = 1, 5 do neap.create_task(add, i) end
      settle()
      assert.same({ 1, 2, 3, 4, 5 }, order)
    end)

    it("takes its turn among callbacks, first come first served #ordered", function()
      local order, add = helper.log()
      local loop = neap.get_event_loop()
      neap.create_task(add, "a")
      loop:call_soon(add, "b")
      neap.create_task(add, "c")
      loop:call_soon(add, "d")
      settle()
      assert.same({ "a", "b", "c", "d" }, order)
    end)

    it("gets the arguments, nils included", function()
      local got
      neap.create_task(function(...) got = table.pack(...) end, nil, 2, nil):await()
      assert.same({ nil, 2, nil, n = 3 }, got)
    end)

    it("takes many arguments", function()
      local list = {}
      for i = 1, 3000 do list[i] = i end
      local task = neap.create_task(select, "#", table.unpack(list))
      assert.equal(3000, task:await())
    end)

    it("runs a C function", function()
      assert.equal(3, neap.create_task(math.max, 1, 3, 2):await())
    end)

    it("runs a callable table", function()
      local object = setmetatable({ base = 10 }, {
        __call = function(self, n)
          neap.sleep(0)
          return self.base + n
        end,
      })
      assert.equal(11, neap.create_task(object, 1):await())
    end)

    it("runs a coroutine that has not started, with arguments", function()
      local co
      co = coroutine.create(function(a, b)
        assert.equal(co, (coroutine.running()))
        neap.sleep(0)
        assert.equal(co, (coroutine.running()))
        return a + b
      end)
      local task = neap.create_task(co, 1, 2)
      assert.equal(co, task:get_coro())
      assert.equal("normal", coroutine.status(co))
      assert.equal(3, task:await())
      assert.equal("dead", coroutine.status(co))
    end)

    it("refuses a coroutine that has started, is dead or is taken", function()
      local started = coroutine.create(function() coroutine.yield() end)
      coroutine.resume(started)
      assert.matches("has started already", catch(neap.create_task, started))
      coroutine.resume(started)
      assert.matches("has started already", catch(neap.create_task, started))
      assert.matches("has started already",
        catch(neap.create_task, (coroutine.running())))
      local taken = coroutine.create(function() end)
      local task = neap.create_task(taken)
      assert.matches("has started already", catch(neap.create_task, taken))
      task:await()
    end)

    it("refuses what is no function", function()
      for _, value in ipairs { 1, "print", {}, true, io.stdout } do
        local err = catch(neap.create_task, value)
        assert.matches("bad argument #1 to 'neap.create_task'", err, 1, true)
        assert.matches("function or coroutine expected, got " .. type(value), err, 1, true)
      end
      assert.matches("got no value", catch(neap.create_task))
      assert.matches("got userdata", catch(neap.create_task, neap.Future()))
    end)

    it("is made by loop:create_task too", function()
      assert.equal(3, neap.get_event_loop():create_task(math.max, 1, 3):await())
    end)
  end)

  describe("when it is awaited", function()
    it("gives all results, nils included", function()
      local task = neap.create_task(function()
        neap.sleep(0)
        return nil, 1, nil, nil
      end)
      assert.same({ nil, 1, nil, nil, n = 4 }, table.pack(task:await()))
      assert.same({ nil, 1, nil, nil, n = 4 }, table.pack(task:await()))
      assert.same({ nil, 1, nil, nil, n = 4 }, table.pack(task:result()))
    end)

    it("tells no result from one nil", function()
      assert.equal(0, select("#", neap.create_task(function() end):await()))
      assert.equal(1, select("#", neap.create_task(function() return nil end):await()))
    end)

    it("gives one table or one result as it is", function()
      local list = { 1, 2 }
      assert.equal(list, neap.create_task(function() return list end):await())
    end)

    it("gives thousands of results", function()
      local task = neap.create_task(function()
        local list = {}
        for i = 1, 5000 do list[i] = i end
        return table.unpack(list)
      end)
      assert.equal(5000, select("#", task:await()))
      assert.equal(5000, (select(-1, task:await())))
    end)

    it("gives the same to many, in the order of their coming #ordered", function()
      local order, add = helper.log()
      local task = neap.create_task(function()
        neap.sleep(0)
        neap.sleep(0)
        return "x"
      end)
      local others = {}
      for i = 1, 4 do
        others[i] = neap.create_task(function() add(i .. task:await()) end)
      end
      neap.gather(others)
      assert.same({ "1x", "2x", "3x", "4x" }, order)
    end)

    it("wakes only who waits for it", function()
      local future = neap.Future()
      local other = neap.create_task(function() return future:await() end)
      neap.create_task(function() end):await()
      assert.is_false(other:done())
      future:set_result(1)
      assert.equal(1, other:await())
    end)

    it("refuses to await itself", function()
      local task
      task = neap.create_task(function() return task:await() end)
      assert.matches("await", catch(task.await, task))
      assert.is_true(task:done())
    end)

    it("goes on at once when it is done", function()
      local task = neap.create_task(function() return 1 end)
      settle()
      local other_ran = false
      in_task(function()
        neap.create_task(function() other_ran = true end)
        assert.equal(1, task:await())
        assert.is_false(other_ran)
      end)
    end)

    it("works through thousands of tasks that await each other", function()
      local task = neap.create_task(function() return 1 end)
      local n = helper.many(10000)
      for _ = 1, n do
        local inner = task
        task = neap.create_task(function() return inner:await() + 1 end)
      end
      assert.equal(n + 1, task:await())
    end)

    it("nests thousands deep from the inside", function()
      local function down(n)
        if n == 0 then return 0 end
        return neap.create_task(down, n - 1):await() + 1
      end
      local n = helper.many(10000)
      assert.equal(n, in_task(down, n))
    end)
  end)

  describe("that fails", function()
    it("raises the very value, for each who awaits it", function()
      local values = {
        "text", "", 42, 1.5, false, true, {}, function() end, io.stdout,
        setmetatable({}, { __tostring = function() return "x" end }),
        neap.Error("x"), coroutine.create(print),
      }
      for _, value in ipairs(values) do
        local task = neap.create_task(function() error(value, 0) end)
        assert.equal(value, catch(task.await, task))
        assert.equal(value, catch(task.await, task))
        assert.equal(value, catch(task.result, task))
        assert.equal(value, task:exception())
      end
    end)

    it("does not decorate strings", function()
      local err = helper.catch_in_task(function() error "text" end)
      local here = debug.getinfo(1, "S").short_src
      assert.matches("^" .. here:gsub("%p", "%%%0") .. ":%d+: text$", err)
    end)

    it("turns error(nil) into an Error", function()
      local task = neap.create_task(function() error(nil) end)
      local err = catch(task.await, task)
      assert.is_true(neap.Error:is(err))
      assert.is_false(neap.CancelledError:is(err))
      assert.equal(err, task:exception())
    end)

    it("keeps values through a chain of tasks", function()
      local value = {}
      local err = helper.catch_in_task(function()
        return neap.create_task(function()
          return neap.create_task(function()
            neap.sleep(0)
            error(value)
          end):await()
        end):await()
      end)
      assert.equal(value, err)
    end)

    it("with a stack overflow ends like any other #slow", function()
      local function down() return down() + 1 end
      assert.matches("stack overflow", helper.catch_in_task(down))
    end)

    it("is reported when nobody looks at it, once", function()
      neap.create_task(error, "lost", 0)
      settle()
      collectgarbage()
      collectgarbage()
      local list = reports.take()
      assert.equal(1, #list)
      assert.equal("Task exception was never retrieved", list[1].message)
      assert.equal("lost", list[1].exception)
      assert.matches("^<Task 'Task%-%d+' failed", tostring(list[1].task))
    end)

    it("is not reported when somebody looked", function()
      local looks = {
        function(task) pcall(task.await, task) end,
        function(task) pcall(task.result, task) end,
        function(task) task:exception() end,
        function(task) neap.gather({ task }, { return_exceptions = true }) end,
      }
      for _, look in ipairs(looks) do
        local task = neap.create_task(error, "seen", 0)
        settle()
        look(task)
      end
      collectgarbage()
      collectgarbage()
      assert.equal(0, #reports)
    end)
  end)

  describe("asked for its outcome", function()
    it("raises InvalidStateError while it is pending", function()
      local task = neap.create_task(neap.sleep, 0)
      local err = catch(task.result, task)
      assert.is_true(neap.InvalidStateError:is(err))
      assert.equal("Result is not ready.", err.message)
      err = catch(task.exception, task)
      assert.is_true(neap.InvalidStateError:is(err))
      assert.equal("Exception is not set.", err.message)
      task:await()
    end)

    it("has no exception when it returned", function()
      local task = neap.create_task(function() return 1 end)
      task:await()
      assert.same({ nil, n = 1 }, table.pack(task:exception()))
      assert.is_true(task:done())
      assert.is_false(task:cancelled())
    end)

    it("takes none from outside", function()
      local task = neap.create_task(neap.sleep, 0)
      assert.has_error(function() task:set_result(1) end)
      assert.has_error(function() task:set_exception "x" end)
      task:await()
    end)

    it("refuses other objects", function()
      local task = neap.create_task(function() end)
      assert.has_error(function() task.await({}) end)
      assert.has_error(function() task.result(neap.Lock()) end)
      assert.has_error(function() task.get_name(neap.Future()) end)
      assert.has_error(function() task.cancelling(nil) end)
      task:await()
    end)
  end)

  describe("state", function()
    it("goes from pending to running to done", function()
      local task, inside
      task = neap.create_task(function()
        inside = task:state()
        neap.sleep(0)
      end)
      assert.equal("pending", task:state())
      neap.sleep(0)
      assert.equal("running", inside)
      assert.equal("pending", task:state())
      task:await()
      assert.equal("done", task:state())
    end)

    it("is done after a failure and cancelled after a cancellation", function()
      local failed = neap.create_task(error, "x")
      pcall(failed.await, failed)
      assert.equal("done", failed:state())
      local cancelled = neap.create_task(neap.sleep, 1)
      cancelled:cancel()
      settle()
      assert.equal("cancelled", cancelled:state())
      assert.is_true(cancelled:done())
      assert.is_true(cancelled:cancelled())
    end)

    it("shows in tostring, with the place of creation and of waiting", function()
      local line = debug.getinfo(1, "l").currentline + 1
      local task = neap.create_task(neap.sleep, 0.001):set_name "shown"
      local made = ("created at %s:%d"):format(debug.getinfo(1, "S").short_src, line)
      assert.equal("<Task 'shown' pending, " .. made .. ">", tostring(task))
      neap.sleep(0)
      assert.equal("<Task 'shown' pending, " .. made .. ", waiting in 'neap.sleep'>",
        tostring(task))
      task:await()
      assert.equal("<Task 'shown' done, " .. made .. ">", tostring(task))
    end)

    it("shows what it waits for", function()
      local lock, event, semaphore = neap.Lock(), neap.Event(), neap.Semaphore(0)
      lock:acquire()
      local tasks = {
        ["await"] = neap.create_task(function() neap.Future():await() end),
        ["Lock:acquire"] = neap.create_task(function() lock:acquire() end),
        ["Event:wait"] = neap.create_task(function() event:wait() end),
        ["Semaphore:acquire"] = neap.create_task(function() semaphore:acquire() end),
        ["neap.gather"] = neap.create_task(neap.gather, neap.Future()),
      }
      settle()
      for name, task in pairs(tasks) do
        assert.matches("waiting in '" .. name .. "'>$", tostring(task))
        task:cancel()
      end
      settle()
      lock:release()
    end)
  end)

  describe("name", function()
    it("is Task-N, counting up, until it is set", function()
      local a = neap.create_task(function() end)
      local b = neap.create_task(function() end)
      local n = math.tointeger(a:get_name():match "^Task%-(%d+)$")
      assert.equal("Task-" .. n + 1, b:get_name())
      assert.equal(a, a:set_name "reader")
      assert.equal("reader", a:get_name())
      neap.gather(a, b)
      assert.equal("reader", a:get_name())
      assert.equal("Task-" .. n + 1, b:get_name())
    end)

    it("can be set late and to anything that has a text", function()
      local task = neap.create_task(function() end)
      task:await()
      assert.equal("7", task:set_name(7):get_name())
      assert.equal("x", task:set_name(setmetatable({}, {
        __tostring = function() return "x" end,
      })):get_name())
    end)
  end)

  describe("current_task", function()
    it("is nil at top level and in callbacks", function()
      assert.is_nil(neap.current_task())
      assert.equal(1, select("#", neap.current_task())) -- nil, not nothing
      local seen = "unset"
      neap.get_event_loop():call_soon(function() seen = neap.current_task() end)
      settle()
      assert.is_nil(seen)
    end)

    it("is the task inside it, at any depth", function()
      local task
      task = neap.create_task(function()
        assert.equal(task, neap.current_task())
        neap.sleep(0)
        assert.equal(task, neap.current_task())
        coroutine.wrap(function()
          assert.equal(task, neap.current_task())
          neap.sleep(0)
          assert.equal(task, neap.current_task())
        end)()
        pcall(function() assert.equal(task, neap.current_task()) end)
      end)
      task:await()
      assert.is_nil(neap.current_task())
    end)
  end)

  describe("all_tasks", function()
    it("lists the pending ones, oldest first", function()
      assert.same({}, neap.all_tasks())
      local list = {}
      for i = 1, 5 do list[i] = neap.create_task(neap.sleep, 0) end
      assert.same(list, neap.all_tasks())
      neap.gather(list)
      assert.same({}, neap.all_tasks())
    end)

    it("has the running one", function()
      in_task(function() assert.same({ neap.current_task() }, neap.all_tasks()) end)
    end)
  end)

  describe("ensure_future", function()
    it("leaves tasks and futures as they are", function()
      local future = neap.Future()
      assert.equal(future, neap.ensure_future(future))
      local task = neap.create_task(function() end)
      assert.equal(task, neap.ensure_future(task))
      task:await()
    end)

    it("makes tasks of functions and coroutines", function()
      assert.equal(3, neap.ensure_future(math.max, 1, 3):await())
      assert.equal(3, neap.ensure_future(coroutine.create(math.max), 1, 3):await())
    end)

    it("says what an awaitable is", function()
      assert.matches("awaitable expected %(a Task, a Future, a function or a coroutine",
        catch(neap.ensure_future, 1))
      assert.has_error(function() neap.ensure_future() end)
    end)
  end)

  describe("in memory", function()
    it("is kept while it is pending, with what it waits for", function()
      local weak = setmetatable({}, { __mode = "k" })
      local wake
      do
        local future = neap.Future()
        weak[future] = true
        local task = neap.create_task(function() return future:await() end)
        weak[task] = true
        neap.get_event_loop():call_later(0.002, function()
          wake = true
          for object in pairs(weak) do
            if object ~= task and not object:done() then object:set_result() end
          end
        end)
      end
      settle()
      collectgarbage()
      neap.sleep(0.005)
      settle()
      assert.is_true(wake)
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end)

    it("is let go when it is done", function()
      local weak = setmetatable({}, { __mode = "v" })
      for i = 1, 10 do weak[i] = neap.create_task(function() neap.sleep(0) end) end
      settle()
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end)

    it("stays small over many tasks", function()
      local function round()
        for _ = 1, helper.many(5000) do neap.create_task(neap.sleep, 0) end
        settle()
        collectgarbage()
        collectgarbage()
        return collectgarbage "count"
      end
      round()
      local before = round()
      for _ = 1, 3 do round() end
      assert.is_true(round() - before < 50)
    end)
  end)

  describe("coroutine", function()
    it("is given by get_coro until it is done", function()
      local running
      local task = neap.create_task(function()
        running = coroutine.running()
        neap.sleep(0)
      end)
      local co = task:get_coro()
      assert.equal("thread", type(co))
      task:await()
      assert.equal(co, running)
      assert.is_nil(task:get_coro())
    end)

    it("is never used again once Lua code saw it", function()
      local seen = {}
      for i = 1, 20 do
        neap.create_task(function()
          local co = coroutine.running()
          assert.is_nil(seen[co])
          seen[co] = i
          neap.sleep(0)
        end):await()
      end
      for co in pairs(seen) do
        assert.equal("dead", coroutine.status(co))
        local ok, message = coroutine.resume(co)
        assert.is_false(ok)
        assert.matches("cannot resume", message)
      end
    end)

    it("cannot be resumed, closed or taken by others", function()
      local future = neap.Future()
      local task = neap.create_task(function() return future:await() end)
      local co = task:get_coro()
      for _ = 1, 2 do -- before its start, and while it waits
        local ok, message = coroutine.resume(co, 1)
        assert.is_false(ok)
        assert.equal("cannot resume non-suspended coroutine", message)
        assert.matches("cannot close a normal coroutine", catch(coroutine.close, co))
        assert.equal("normal", coroutine.status(co))
        settle()
      end
      future:set_result "fine"
      assert.equal("fine", task:await())
    end)

    it("cannot yield by coroutine.yield", function()
      local err = helper.catch_in_task(function() coroutine.yield(1) end)
      assert.matches("attempt to yield from the body of a task", err)
      assert.matches("neap.sleep(0)", err, 1, true)
      in_task(function() assert.is_false(coroutine.isyieldable()) end)
    end)
  end)
end)
