--- Event loops: run, run_until_complete, run_forever, stop, close, which loop is the
--- current one.

local neap = require "neap"
local helper = require "spec.helper"

local catch, in_task, settle = helper.catch, helper.in_task, helper.settle

describe("a loop", function()
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
