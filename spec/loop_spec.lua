--- Event loops: run, run_until_complete, run_forever, stop, close, callbacks, Handles,
--- exception handlers, which loop is the current one.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

describe("a loop", function()
  local reports = helper.reports

  describe("run", function()
    it("gives the results of its main function", function()
      assert.same({ 1, nil, 3, nil, n = 4 }, table.pack(neap.run(function(...)
        neap.sleep(0)
        return ...
      end, 1, nil, 3, nil)))
      assert.equal(0, select("#", neap.run(function() end)))
    end)

    it("raises its very error", function()
      local value = {}
      assert.equal(value, catch(neap.run, error, value))
      assert.equal("x", catch(neap.run, error, "x", 0))
    end)

    it("uses a new loop, that is closed afterwards", function()
      local before = neap.get_event_loop()
      local inside
      neap.run(function()
        inside = neap.get_running_loop()
        assert.equal(inside, neap.get_event_loop())
        assert.not_equal(before, inside)
        assert.is_true(inside:is_running())
        assert.is_false(before:is_running())
      end)
      assert.is_true(inside:is_closed())
      assert.is_false(before:is_closed())
      assert.equal(before, neap.get_event_loop())
    end)

    it("takes a coroutine and a main task is the first", function()
      assert.equal(5, neap.run(coroutine.create(function(n) return n end), 5))
      neap.run(function()
        assert.same({ neap.current_task() }, neap.all_tasks())
      end)
    end)

    it("cancels what is left, and lets it end #ordered", function()
      local order, add = helper.log()
      neap.run(function()
        for i = 1, 3 do
          neap.create_task(function()
            local _ <close> = setmetatable({}, {
              __close = function()
                neap.sleep(0)
                add(i)
              end,
            })
            neap.sleep(100)
          end)
        end
        neap.sleep(0)
        add "main"
      end)
      assert.same({ "main", 1, 2, 3 }, order)
    end)

    it("cancels what main left when main fails", function()
      local cancelled = false
      assert.equal("x", catch(neap.run, function()
        neap.create_task(function()
          local _ <close> = setmetatable({}, { __close = function() cancelled = true end })
          neap.sleep(100)
        end)
        neap.sleep(0)
        error("x", 0)
      end))
      assert.is_true(cancelled)
    end)

    it("is refused inside a running loop", function()
      local message = "cannot be called from a running event loop"
      assert.matches(message, helper.catch_in_task(neap.run, print))
      local err
      neap.get_event_loop():call_soon(function() err = catch(neap.run, print) end)
      settle()
      assert.matches(message, err)
    end)

    it("wants an awaitable", function()
      assert.matches("awaitable expected", catch(neap.run, 5))
      assert.has_error(function() neap.run() end)
      assert.is_false(neap.get_event_loop():is_closed())
      assert.is_false(neap.get_event_loop():is_running())
      neap.sleep(0)
    end)

    it("reports errors that nobody looked at, at the latest at its end", function()
      local seen = {}
      neap.run(function()
        neap.get_running_loop():set_exception_handler(function(_, context)
          seen[#seen + 1] = context.exception
        end)
        KEEP = neap.create_task(error, "lost", 0) -- luacheck: ignore
        neap.sleep(0)
      end)
      KEEP = nil -- luacheck: ignore
      assert.same({ "lost" }, seen)
    end)

    it("a hundred times leaves nothing behind", function()
      local function round()
        for _ = 1, helper.many(100) do neap.run(neap.sleep, 0) end
        collectgarbage()
        collectgarbage()
        return collectgarbage "count"
      end
      round()
      local before = round()
      assert.is_true(round() - before < 30)
    end)

    it("raises DeadlockError when main waits for nothing that can come", function()
      local err = catch(neap.run, function() neap.Future():await() end)
      assert.is_true(neap.DeadlockError:is(err))
      assert.matches("this task:\n  Task%-%d+ waits in 'await' at .- "
        .. "for <Future pending>", err.message)
    end)
  end)

  describe("run_until_complete", function()
    local loop
    before_each(function() loop = neap.new_event_loop() end)
    after_each(function() loop:close() end)

    it("gives results and raises errors", function()
      assert.same({ 1, nil, n = 2 }, table.pack(loop:run_until_complete(function(...)
        neap.sleep(0)
        return ...
      end, 1, nil)))
      local value = {}
      assert.equal(value, catch(loop.run_until_complete, loop, error, value))
    end)

    it("takes a task, a future and a coroutine of that loop", function()
      assert.equal(3, loop:run_until_complete(loop:create_task(math.max, 3)))
      local future = loop:create_future()
      loop:call_soon(future.set_result, future, 4)
      assert.equal(4, loop:run_until_complete(future))
      assert.equal(4, loop:run_until_complete(future)) -- done already
      assert.equal(5, loop:run_until_complete(coroutine.create(math.max), 5))
    end)

    it("stops when it is done, with the rest to go on later", function()
      local n = 0
      local task = loop:create_task(function()
        for _ = 1, 50 do
          n = n + 1
          neap.sleep(0)
        end
        return "end"
      end)
      loop:run_until_complete(neap.sleep, 0)
      assert.is_true(n > 0 and n < 10)
      local before = n
      neap.sleep(0.001) -- the other loop
      assert.equal(before, n)
      assert.equal("end", loop:run_until_complete(task))
      assert.equal(50, n)
    end)

    it("refuses what belongs to another loop", function()
      assert.matches("belongs to a different loop",
        catch(loop.run_until_complete, loop, neap.Future()))
    end)

    it("refuses to run while a loop runs", function()
      assert.matches("already running", helper.catch_in_task(function()
        local running = neap.get_running_loop()
        running:run_until_complete(neap.sleep, 0)
      end))
      assert.matches("while another loop is running",
        helper.catch_in_task(loop.run_until_complete, loop, neap.sleep, 0))
      assert.matches("already running", catch(loop.run_until_complete, loop, function()
        loop:run_forever()
      end))
    end)

    it("raises when stop() comes first", function()
      local future = loop:create_future()
      loop:call_soon(loop.stop, loop)
      local err = catch(loop.run_until_complete, loop, future)
      assert.equal("Event loop stopped before Future completed.", err.message)
      loop:call_soon(future.set_result, future, 1)
      assert.equal(1, loop:run_until_complete(future))
    end)

    it("makes one turn when stop() came before", function()
      local order, add = helper.log()
      local task = loop:create_task(function()
        add "first"
        neap.sleep(0)
        add "second"
      end)
      loop:stop()
      local err = catch(loop.run_until_complete, loop, task)
      assert.equal("Event loop stopped before Future completed.", err.message)
      assert.same({ "first" }, order)
      loop:run_until_complete(task)
      assert.same({ "first", "second" }, order)
    end)

    it("is the loop of the tasks it runs", function()
      local running, current
      loop:run_until_complete(function()
        running, current = neap.get_running_loop(), neap.get_event_loop()
        neap.create_task(neap.sleep, 0):await()
      end)
      assert.equal(loop, running)
      assert.equal(loop, current)
      assert.not_equal(loop, neap.get_event_loop())
    end)

    it("raises CancelledError when the task is cancelled", function()
      local task = loop:create_task(neap.sleep, 10)
      loop:call_soon(task.cancel, task, "why")
      local err = catch(loop.run_until_complete, loop, task)
      assert.is_true(neap.CancelledError:is(err))
      assert.equal("why", err.message)
    end)

    it("raises DeadlockError when nothing can happen", function()
      local future = loop:create_future()
      assert.is_true(neap.DeadlockError:is(catch(loop.run_until_complete, loop, future)))
      loop:call_later(0.001, future.set_result, future, 6)
      assert.equal(6, loop:run_until_complete(future))
    end)
  end)

  describe("run_forever", function()
    local loop
    before_each(function() loop = neap.new_event_loop() end)
    after_each(function() loop:close() end)

    it("runs until stop(), the present turn to its end", function()
      local order, add = helper.log()
      loop:call_soon(function()
        add(1)
        loop:stop()
        loop:call_soon(add, "later")
      end)
      loop:call_soon(add, 2)
      loop:run_forever()
      assert.same({ 1, 2 }, order)
      loop:call_soon(loop.stop, loop)
      loop:run_forever()
      assert.same({ 1, 2, "later" }, order)
    end)

    it("makes one turn when stop() came before", function()
      local order, add = helper.log()
      loop:call_soon(function()
        add "turn"
        loop:call_soon(add, "next")
      end)
      loop:stop()
      loop:run_forever()
      assert.same({ "turn" }, order)
      loop:call_soon(loop.stop, loop)
      loop:run_forever()
      assert.same({ "turn", "next" }, order)
    end)

    it("runs timers", function()
      local order, add = helper.log()
      loop:call_later(0.001, add, "timer")
      loop:call_later(0.002, loop.stop, loop)
      loop:run_forever()
      assert.same({ "timer" }, order)
    end)

    it("goes on after errors of tasks and callbacks", function()
      local seen = {}
      loop:set_exception_handler(function(_, context) seen[#seen + 1] = context.message end)
      loop:call_soon(error, "callback")
      local task = loop:create_task(error, "task")
      loop:call_later(0.001, loop.stop, loop)
      loop:run_forever()
      assert.same({ "Exception in callback" }, seen)
      assert.matches("task", task:exception())
    end)

    it("says when nothing can happen any more", function()
      assert.is_true(neap.DeadlockError:is(catch(loop.run_forever, loop)))
      assert.is_false(loop:is_running())
    end)

    it("can be stopped by a task", function()
      loop:create_task(function()
        neap.sleep(0.001)
        loop:stop()
      end)
      loop:run_forever()
    end)
  end)

  describe("close", function()
    it("is final, and harmless twice", function()
      local loop = neap.new_event_loop()
      assert.is_false(loop:is_closed())
      assert.equal("<EventLoop idle>", tostring(loop))
      loop:close()
      loop:close()
      assert.is_true(loop:is_closed())
      assert.is_false(loop:is_running())
      assert.equal("<EventLoop closed>", tostring(loop))
      for _, call in ipairs {
        function() loop:call_soon(print) end,
        function() loop:call_later(1, print) end,
        function() loop:call_at(1, print) end,
        function() loop:create_task(print) end,
        function() loop:create_future() end,
        function() loop:run_forever() end,
        function() loop:run_until_complete(print) end,
        function() loop:stop() end,
        function() loop:time() end,
      } do
        assert.matches("Event loop is closed", catch(call))
      end
    end)

    it("is refused while it runs", function()
      local loop <close> = neap.new_event_loop()
      assert.matches("Cannot close a running event loop",
        catch(loop.run_until_complete, loop, function() loop:close() end))
      assert.matches("Cannot close a running event loop",
        helper.catch_in_task(function() neap.get_running_loop():close() end))
    end)

    it("drops callbacks that did not run", function()
      local ran = false
      local loop = neap.new_event_loop()
      local weak = setmetatable({}, { __mode = "k" })
      local function callback() ran = true end
      weak[loop:call_soon(callback)] = true
      weak[loop:call_later(0, callback)] = true
      weak[loop:call_later(100, callback)] = true
      loop:close()
      settle()
      assert.is_false(ran)
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end)

    it("reports each pending task, and closes it", function()
      local loop = neap.new_event_loop()
      local seen, closed = {}, 0
      loop:set_exception_handler(function(l, context)
        assert.equal(loop, l)
        seen[#seen + 1] = context
      end)
      local function wait()
        local _ <close> = setmetatable({}, { __close = function() closed = closed + 1 end })
        neap.sleep(100)
      end
      local tasks = { loop:create_task(wait), loop:create_task(wait) }
      loop:run_until_complete(neap.sleep, 0)
      tasks[3] = loop:create_task(wait) -- has not started
      loop:close()
      assert.equal(3, #seen)
      for i = 1, 3 do
        assert.equal("Task was destroyed but it is pending!", seen[i].message)
        seen[seen[i].task] = true
      end
      for i = 1, 3 do
        assert.is_true(seen[tasks[i]])
        assert.is_true(tasks[i]:done())
      end
      assert.equal(2, closed)
    end)

    it("is done by <close>", function()
      local kept
      do
        local loop <close> = neap.new_event_loop()
        kept = loop
      end
      assert.is_true(kept:is_closed())
    end)

    it("of the current loop makes room for a new one", function()
      local old = neap.get_event_loop()
      local loop = neap.new_event_loop()
      neap.set_event_loop(loop)
      loop:close()
      local new = neap.get_event_loop()
      assert.not_equal(loop, new)
      assert.is_false(new:is_closed())
      assert.equal("x", neap.sleep(0, "x"))
      new:close()
      neap.set_event_loop(old)
    end)

    it("leaves its futures usable as values", function()
      local loop = neap.new_event_loop()
      local future = loop:create_future()
      local done = loop:create_task(math.max, 4)
      loop:run_until_complete(done)
      future:set_result(1)
      loop:close()
      assert.equal(1, future:result())
      assert.equal(4, done:await())
    end)
  end)

  describe("call_soon", function()
    it("calls in order, with arguments, not before the next turn", function()
      local order = {}
      local loop = neap.get_event_loop()
      for i = 1, 3 do
        loop:call_soon(function(...) order[#order + 1] = table.pack(...) end, i, nil)
      end
      assert.same({}, order)
      settle()
      assert.same({ { 1, nil, n = 2 }, { 2, nil, n = 2 }, { 3, nil, n = 2 } }, order)
    end)

    it("from a callback runs a turn later", function()
      local order, add = helper.log()
      local loop = neap.get_event_loop()
      loop:call_soon(function()
        add(1)
        loop:call_soon(add, 3)
      end)
      loop:call_soon(add, 2)
      settle()
      assert.same({ 1, 2, 3 }, order)
    end)

    it("calls callable tables, refuses the rest", function()
      local loop, got = neap.get_event_loop(), nil
      loop:call_soon(setmetatable({}, { __call = function(_, x) got = x end }), 9)
      settle()
      assert.equal(9, got)
      assert.matches("function expected", catch(loop.call_soon, loop, 5))
      assert.matches("function expected", catch(loop.call_soon, loop))
    end)

    it("gives a Handle that can be cancelled, also twice and too late", function()
      local loop, n = neap.get_event_loop(), 0
      local function count() n = n + 1 end
      local a, b = loop:call_soon(count), loop:call_soon(count)
      assert.is_false(a:cancelled())
      a:cancel()
      a:cancel()
      assert.is_true(a:cancelled())
      settle()
      assert.equal(1, n)
      assert.is_false(b:cancelled())
      b:cancel()
      assert.is_true(b:cancelled())
      assert.is_nil(a:when())
      assert.matches("^<Handle cancelled, created at .*loop_spec.lua:%d+>$", tostring(a))
    end)

    it("may cancel another of the same turn", function()
      local loop, ran = neap.get_event_loop(), false
      local other
      loop:call_soon(function() other:cancel() end)
      other = loop:call_soon(function() ran = true end)
      settle()
      assert.is_false(ran)
    end)

    it("lets go of what it called", function()
      local loop = neap.get_event_loop()
      local weak = setmetatable({}, { __mode = "k" })
      for i = 1, 3 do
        local argument = {}
        weak[argument] = true
        local handle = i == 1 and loop:call_later(0, function() end, argument)
          or loop:call_soon(function() end, argument)
        if i == 3 then handle:cancel() end
      end
      neap.sleep(0.001)
      settle()
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end)

    it("has no task to run in: it cannot wait", function()
      local err
      neap.get_event_loop():call_soon(function() err = catch(neap.sleep, 0) end)
      settle()
      assert.matches("cannot wait in 'neap.sleep' inside a loop callback", err)
      assert.matches("neap.create_task", err, 1, true)
    end)

    it("may start tasks", function()
      local task
      neap.get_event_loop():call_soon(function()
        task = neap.create_task(function() return neap.sleep(0, "x") end)
      end)
      settle()
      assert.equal("x", task:await())
    end)
  end)

  describe("a closed loop", function()
    it("leaves nothing behind", function()
      local function make(n)
        for _ = 1, n do
          local loop <close> = neap.new_event_loop()
          loop:call_later(10, print)
        end
        collectgarbage()
        collectgarbage()
        return collectgarbage("count")
      end
      local before = make(50)
      assert.is_true(make(500) - before < 8, "kilobytes per 500 loops")
    end)
  end)

  describe("call_later and call_at", function()
    it("call at their time, in its order", function()
      local order, add = helper.log()
      local loop = neap.get_event_loop()
      local start = loop:time()
      local handles = {
        loop:call_later(0.004, add, 1),
        loop:call_at(start + 0.002, add, 2),
        loop:call_later(0.001, add, 3),
      }
      neap.sleep(0.006)
      settle()
      assert.equal(3, #order)
      for i = 2, 3 do
        assert.is_true(handles[order[i - 1]]:when() < handles[order[i]]:when())
      end
    end)

    it("never call early", function()
      local loop, early = neap.get_event_loop(), 0
      for i = 1, 20 do
        local when = loop:time() + i * 0.0002
        loop:call_at(when, function()
          if loop:time() < when then early = early + 1 end
        end)
      end
      neap.sleep(0.006)
      settle()
      assert.equal(0, early)
    end)

    it("give Handles that know when", function()
      local loop = neap.get_event_loop()
      local before = loop:time()
      local later, at = loop:call_later(10, print), loop:call_at(before + 5, print)
      assert.is_true(later:when() >= before + 10 and later:when() < before + 11)
      assert.equal(before + 5, at:when())
      later:cancel()
      at:cancel()
      assert.is_true(later:cancelled())
    end)

    it("in the past call soon, but after what is ready", function()
      local order, add = helper.log()
      local loop = neap.get_event_loop()
      loop:call_at(0, add, 2)
      loop:call_later(-5, add, 3)
      loop:call_soon(add, 1)
      neap.sleep(0.001)
      settle()
      assert.equal(1, order[1])
      table.sort(order)
      assert.same({ 1, 2, 3 }, order)
    end)

    it("are cancelled without a trace, any of many", function()
      local order, add = helper.log()
      local loop = neap.get_event_loop()
      local handles, base = {}, loop:time() + 0.001
      for i = 1, 300 do handles[i] = loop:call_at(base + (i * 73 % 300) / 1e6, add, i) end
      for i = 1, 300, 3 do handles[i]:cancel() end
      neap.sleep(0.004)
      settle()
      assert.equal(200, #order)
      for k = 2, #order do
        assert.is_true(order[k - 1] * 73 % 300 < order[k] * 73 % 300)
      end
    end)

    it("check their arguments", function()
      local loop = neap.get_event_loop()
      assert.matches("number expected", catch(loop.call_later, loop, print))
      assert.matches("function expected", catch(loop.call_later, loop, 1))
      assert.matches("function expected", catch(loop.call_at, loop, 1, {}))
      assert.matches("NaN", catch(loop.call_later, loop, 0 / 0, print))
    end)
  end)

  describe("exception handler", function()
    it("gets errors of callbacks, with the handle and a traceback", function()
      local loop, value = neap.get_event_loop(), {}
      local handle = loop:call_soon(function() error(value) end)
      settle()
      local context = reports.take()[1]
      assert.equal("Exception in callback", context.message)
      assert.equal(value, context.exception)
      assert.equal(handle, context.handle)
      assert.matches("loop_spec.lua:%d+: in function", context.traceback)
    end)

    it("is called by call_exception_handler with that very table", function()
      local loop <close> = neap.new_event_loop()
      local context, got = { message = "x" }, nil
      loop:set_exception_handler(function(...) got = table.pack(...) end)
      loop:call_exception_handler(context)
      assert.equal(2, got.n)
      assert.equal(loop, got[1])
      assert.equal(context, got[2])
      assert.has_error(function() loop:call_exception_handler "x" end)
    end)

    it("is one for each loop", function()
      local loop <close> = neap.new_event_loop()
      local got
      loop:set_exception_handler(function(_, context) got = context.exception end)
      loop:call_soon(error, "a", 0)
      loop:run_until_complete(neap.sleep, 0)
      assert.equal("a", got)
      neap.get_event_loop():call_soon(error, "b", 0)
      settle()
      assert.equal("a", got)
      assert.equal("b", reports.take()[1].exception)
    end)

    it("must be callable or nil", function()
      local loop = neap.get_event_loop()
      assert.matches("function expected", catch(loop.set_exception_handler, loop, 5))
    end)

    it("may start tasks, not wait", function()
      local loop <close> = neap.new_event_loop()
      local err, task
      loop:set_exception_handler(function()
        err = catch(neap.sleep, 0)
        task = neap.create_task(neap.sleep, 0, "x")
      end)
      loop:call_soon(error, "a")
      loop:run_until_complete(settle)
      assert.matches("cannot wait", err)
      assert.equal("x", task:result())
    end)
  end)

  describe("which is the current one", function()
    it("is made on first use and stays", function()
      local loop = neap.get_event_loop()
      assert.equal(loop, neap.get_event_loop())
      assert.equal(loop, in_task(neap.get_event_loop))
      assert.equal(loop, in_task(neap.get_running_loop))
    end)

    it("can be set", function()
      local old = neap.get_event_loop()
      local loop <close> = neap.new_event_loop()
      assert.equal(old, neap.get_event_loop())
      neap.set_event_loop(loop)
      assert.equal(loop, neap.get_event_loop())
      local task = neap.create_task(neap.get_running_loop)
      assert.equal(loop, task:await())
      neap.set_event_loop(old)
      assert.equal(old, in_task(neap.get_running_loop))
    end)

    it("may be none until it is needed", function()
      local old = neap.get_event_loop()
      neap.set_event_loop(nil)
      local new = neap.get_event_loop()
      assert.not_equal(old, new)
      neap.set_event_loop(old)
      new:close()
    end)

    it("does not run at top level between waits", function()
      assert.matches("no running event loop", catch(neap.get_running_loop))
      assert.is_false(neap.get_event_loop():is_running())
      assert.is_true(in_task(function() return neap.get_running_loop():is_running() end))
    end)

    it("runs in callbacks", function()
      local loop, got = neap.get_event_loop(), nil
      loop:call_soon(function() got = neap.get_running_loop() end)
      settle()
      assert.equal(loop, got)
    end)
  end)

  describe("time", function()
    it("is monotonic and reads the clock", function()
      local loop = neap.get_event_loop()
      local a = loop:time()
      local b = a
      while b == a do b = loop:time() end
      assert.is_true(b > a)
      assert.equal("float", math.type(a))
      in_task(function() -- within one turn
        local start = loop:time()
        while loop:time() == start do end -- luacheck: ignore
      end)
    end)
  end)

  describe("debug mode", function()
    it("is a flag", function()
      local loop <close> = neap.new_event_loop()
      loop:set_debug(true)
      assert.is_true(loop:get_debug())
      loop:set_debug(false)
      assert.is_false(loop:get_debug())
    end)
  end)

  it("stopped while the main chunk waits raises there", function()
    local loop = neap.get_event_loop()
    loop:call_soon(loop.stop, loop)
    local err = catch(neap.sleep, 1)
    assert.is_true(neap.InvalidStateError:is(err))
    assert.equal("x", neap.sleep(0, "x"))
  end)

  it("is refused where another object is expected, and the other way round", function()
    local loop = neap.get_event_loop()
    assert.has_error(function() loop.time(neap.Lock()) end)
    assert.has_error(function() neap.set_event_loop {} end)
    assert.has_error(function() loop.close() end)
  end)
end)
