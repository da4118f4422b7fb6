--- TaskGroup: cancelled from outside, left open, closed late or in the wrong place.

local neap = require "neap"
local core = require "neap.core.test"
local helper = require "spec.helper"

local catch, in_task, elapsed, both = helper.catch, helper.in_task, helper.elapsed, helper.both
local failing, grouped, waiter = helper.failing, helper.grouped, helper.waiter
local reports = helper.reports
local CancelledError, ExceptionGroup = neap.CancelledError, neap.ExceptionGroup

local loop
helper.virtual_time(before_each, after_each)
before_each(function() loop = neap.get_event_loop() end)

describe("TaskGroup", function()
  describe("cancelled from outside", function()
    it("in the body: all are cancelled, CancelledError leaves #ordered", function()
      local log = {}
      local task = neap.create_task(grouped, function(g)
        g:create_task(waiter(log, "one"))
        g:create_task(waiter(log, "two"))
        neap.sleep(1e6)
      end)
      core.settle()
      task:cancel "outside"
      local err = catch(task.await, task)
      assert.is_true(CancelledError:is(err))
      assert.equal("outside", err.message)
      assert.same({ "one", "two" }, log)
      assert.is_true(task:cancelled())
    end)

    it("at its end: all are cancelled, CancelledError leaves #ordered", function()
      local log, count = {}, nil
      local task = neap.create_task(function()
        local ok, err = pcall(grouped, function(g)
          g:create_task(waiter(log, "one"))
          g:create_task(waiter(log, "two"))
        end)
        count = neap.current_task():cancelling()
        assert(not ok)
        error(err, 0)
      end)
      core.settle()
      assert.is_true(task:cancel "outside")
      local err = catch(task.await, task)
      assert.is_true(CancelledError:is(err))
      assert.equal("outside", err.message)
      assert.same({ "one", "two" }, log)
      assert.equal(1, count)
    end)

    it("is not lost when the children end well all the same", function()
      local task = neap.create_task(grouped, function(g)
        g:create_task(function()
          pcall(neap.sleep, 1e6)
          neap.current_task():uncancel()
          neap.sleep(1)
        end)
      end)
      core.settle()
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
    end)

    it("twice and more: the children are cancelled once", function()
      local counts = {}
      local task = neap.create_task(grouped, function(g)
        g:create_task(function()
          pcall(neap.sleep, 1e6)
          local me = neap.current_task()
          me:uncancel()
          neap.sleep(5)
          counts[1] = me:cancelling()
        end)
      end)
      core.settle()
      for _ = 1, 5 do
        task:cancel()
        neap.sleep(0.5)
      end
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.same({ 0 }, counts)
      assert.equal(5, elapsed())
    end)

    it("errors go before it; it is raised at the next wait", function()
      local first, second
      local task = neap.create_task(function()
        first = catch(grouped, function(g)
          g:create_task(function()
            pcall(neap.sleep, 1e6)
            error("failed", 0)
          end)
        end)
        second = catch(neap.sleep, 1)
        error(second, 0)
      end)
      core.settle()
      task:cancel "outside"
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.same({ "failed" }, first.errors)
      assert.equal("outside", second.message)
    end)

    it("in the turn in which the last child ended", function()
      local future, child = neap.Future(), nil
      local task = neap.create_task(grouped, function(g)
        child = g:create_task(future.await, future)
      end)
      core.settle()
      future:set_result() -- the child is ready
      loop:call_soon(task.cancel, task, "late") -- and its group when this runs
      local err = catch(task.await, task)
      assert.is_true(CancelledError:is(err))
      assert.equal("late", err.message)
      assert.is_false(child:cancelled())
    end)

    it("in the turn in which a child failed", function()
      for _, first in ipairs { "child", "outside" } do
        local task, after
        local function outside() task:cancel "outside" end
        if first == "outside" then loop:call_later(1, outside) end
        task = neap.create_task(function()
          local ok, err = pcall(grouped, function(g)
            g:create_task(failing("child", 1))
            neap.sleep(0)
            if first == "child" then loop:call_later(1, outside) end
            neap.sleep(1e6)
          end)
          assert.is_false(ok)
          assert.same({ "child" }, err.errors)
          after = catch(neap.sleep, 1)
          error(after, 0)
        end)
        assert.is_true(CancelledError:is(catch(task.await, task)))
        assert.is_true(CancelledError:is(after))
      end
    end)

    it("by a time-out around it", function()
      both(function(run)
        local log = {}
        local err = catch(run, function()
          local _ <close> = neap.timeout(1)
          grouped(function(g) g:create_task(waiter(log, "one")) end)
        end)
        assert.is_true(neap.TimeoutError:is(err))
        assert.same({ "one" }, log)
        assert.equal(1, elapsed())
      end)
    end)

    it("by a time-out inside it", function()
      both(function(run)
        local err = catch(run, grouped, function(g)
          local _ <close> = neap.timeout(1)
          g:create_task(neap.sleep, 5)
          neap.sleep(1e6)
        end)
        assert.is_true(ExceptionGroup:is(err))
        assert.is_true(neap.TimeoutError:is(err.errors[1]))
      end)
    end)
  end)

  describe("in the cleanup of a cancelled task", function()
    it("raises its errors, and nothing is raised again after them", function()
      local done
      local task = neap.create_task(function()
        local _ <close> = setmetatable({}, { __close = function()
          local err = catch(grouped, function(g)
            g:create_task(failing "failed")
            neap.sleep(1e6)
          end)
          assert.same({ "failed" }, err.errors)
          err = catch(grouped, function(g) g:create_task(failing "again") end)
          assert.same({ "again" }, err.errors)
          neap.sleep(1)
          done = true
        end })
        neap.sleep(1e6)
      end)
      neap.sleep(0)
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.is_true(done)
    end)

    it("waits, also after the cancellation was swallowed", function()
      local log = {}
      local task = neap.create_task(function()
        local ok, err = pcall(grouped, function(g)
          g:create_task(function()
            pcall(neap.sleep, 1e6)
            neap.current_task():uncancel()
            neap.sleep(2)
            log[#log + 1] = "child"
          end)
          pcall(neap.sleep, 1e6) -- swallowed; the group's own wait is exempt
          log[#log + 1] = "body"
        end)
        log[#log + 1] = ok
        log[#log + 1] = CancelledError:is(catch(neap.sleep, 0))
        error(err or "?", 0)
      end)
      core.settle()
      task:cancel()
      core.settle()
      assert.same({ "body" }, log)
      for _, other in ipairs(neap.all_tasks()) do
        if other ~= task then other:cancel() end
      end
      pcall(task.await, task)
      assert.same({ "body", "child", true, true }, log)
    end)
  end)

  describe("where it does not belong", function()
    it("needs a task around it", function()
      loop:call_soon(neap.TaskGroup)
      neap.sleep(1)
      assert.matches("a TaskGroup needs a task around it; this is a loop callback",
        reports.take()[1].exception)
    end)

    it("is closed by the task that made it alone", function()
      in_task(grouped, function(g)
        g:create_task(neap.sleep, 1)
        local task = neap.create_task(g.close, g)
        assert.matches("a TaskGroup is closed by the task that made it",
          catch(task.await, task))
        local message
        loop:call_soon(function() message = catch(g.close, g) end)
        neap.sleep(0)
        neap.sleep(0)
        assert.matches("a TaskGroup is closed by the task that made it", message)
      end)
      assert.equal(1, elapsed())
    end)

    it("cancels its tasks where it cannot wait for them #ordered", function()
      local log, err = {}, nil
      in_task(function()
        table.sort({ 2, 1 }, function(a, b)
          err = catch(grouped, function(g) g:create_task(waiter(log, "sort")) end)
          return a < b
        end)
        neap.sleep(0)
      end)
      assert.matches("cannot wait in 'TaskGroup:close' here: .*'table.sort'", err)
      in_task(function()
        local co = coroutine.create(function()
          local g <close> = neap.TaskGroup()
          g:create_task(waiter(log, "coroutine"))
          neap.sleep(0)
          coroutine.yield()
        end)
        coroutine.resume(co)
        local ok
        ok, err = coroutine.close(co)
        assert.is_false(ok)
        neap.sleep(0)
      end)
      assert.matches("cannot wait in 'TaskGroup:close' here: .*'coroutine.close'", err)
      neap.sleep(0)
      assert.same({ "coroutine" }, log) -- the first had not begun
    end)

    it("waits in a comparison at top level", function()
      local log = {}
      table.sort({ 2, 1 }, function(a, b)
        grouped(function(g) g:create_task(function()
          neap.sleep(1)
          log[#log + 1] = "waited"
        end) end)
        return a < b
      end)
      assert.equal("waited", log[1])
    end)
  end)

  describe("that is never closed", function()
    it("lets its children go on, and reports them like others", function()
      local log, group = {}, nil
      in_task(function()
        group = neap.TaskGroup()
        group:create_task(function()
          neap.sleep(2)
          log[#log + 1] = "went on"
        end)
        group:create_task(failing("failed", 1))
        assert.is_truthy(group)
      end)
      neap.sleep(3)
      assert.same({ "went on" }, log)
      group = nil
      collectgarbage()
      collectgarbage()
      neap.sleep(0)
      local list = reports.take()
      assert.equal(1, #list)
      assert.equal("Task exception was never retrieved", list[1].message)
      assert.equal("failed", list[1].exception)
    end)

    it("is collected while its children go on", function()
      local ran
      in_task(function()
        neap.TaskGroup():create_task(function()
          neap.sleep(1)
          ran = true
        end)
      end)
      collectgarbage()
      collectgarbage()
      neap.sleep(2)
      assert.is_true(ran)
    end)

    it("is not taken away by who calls its __gc, with anything", function()
      local gc = neap.TaskGroup().__gc
      gc() gc(io.stdout) gc(neap.Lock())
      local group, child
      local parent = neap.create_task(function()
        group = neap.TaskGroup()
        child = group:create_task(neap.sleep, 1)
        group:close()
        return "left"
      end)
      neap.sleep(0.5)
      gc(group) -- while its task waits
      child:add_done_callback(function() gc(group) end) -- before it runs again
      assert.equal("left", parent:await())
      gc(group) gc(group)
    end)

    it("is over with the main chunk #host", function()
      local result = helper.run [[
        local neap = require "neap"
        local g = neap.TaskGroup()
        g:create_task(function() neap.sleep(0.001) error("failed", 0) end)
        g:create_task(function() neap.sleep(0.002) print "sibling" end)
        neap.create_task(function() neap.sleep(0.003) print "other" end)
      ]]
      assert.equal("sibling\nother\n", result.out)
      assert.matches("^Task exception was never retrieved\ntask: <Task 'Task%-1' failed.*\nfailed",
        result.err)
      assert.equal(1, result.code)
    end)
  end)

  describe("and its loop", function()
    it("loop:close() with an open group closes its tasks by force", function()
      local log = {}
      local other = neap.new_event_loop()
      other:set_exception_handler(function(_, context) log[#log + 1] = context.message end)
      local group
      other:create_task(grouped, function(g)
        group = g
        g:create_task(neap.sleep, 1e6)
      end)
      neap.set_event_loop(other)
      neap.sleep(1)
      other:close()
      neap.set_event_loop(loop)
      assert.same({ "Task was destroyed but it is pending!",
        "Task was destroyed but it is pending!" }, log)
      assert.is_false(pcall(group.create_task, group, print))
    end)

    it("a group of the main chunk's is left with its loop closed", function()
      local other = neap.new_event_loop()
      other:set_exception_handler(function() end)
      neap.set_event_loop(other)
      local group = neap.TaskGroup()
      local task = group:create_task(neap.sleep, 1e6)
      other:close()
      neap.set_event_loop(loop)
      assert.is_true(task:done())
      assert.is_false(pcall(group.create_task, group, print))
      group:close()
      assert.equal("<TaskGroup finished>", tostring(group))
    end)
  end)

  describe("on its way out #host", function()
    it("Ctrl-C at the main chunk cancels the group and goes on as it is", function()
      local result = helper.run([[
        local neap = require "neap"
        local ok, err = pcall(function()
          local g <close> = neap.TaskGroup()
          g:create_task(function()
            local _ <close> = setmetatable({}, { __close = function(_, e) print("child", e) end })
            neap.sleep(3600)
          end)
          neap.sleep(0)
          io.popen("kill -INT $PPID"):close()
          neap.sleep(3600)
        end)
        print(ok, neap.KeyboardInterrupt:is(err))
      ]])
      assert.same({ out = "child\tCancelledError\nfalse\ttrue\n", err = "", code = 0 }, result)
    end)

    it("Ctrl-C while the main chunk waits at the end of the block", function()
      local result = helper.run([[
        local neap = require "neap"
        local sender <close> = io.popen
          "until [ -e begun ]; do sleep 0.01; done; sleep 0.05; kill -INT $PPID"
        local ok, err = pcall(function()
          local g <close> = neap.TaskGroup()
          g:create_task(function()
            local _ <close> = setmetatable({}, { __close = function(_, e) print("child", e) end })
            io.open("begun", "w"):close()
            neap.sleep(3600)
          end)
        end)
        print(ok, neap.KeyboardInterrupt:is(err))
      ]])
      assert.same({ out = "child\tCancelledError\nfalse\ttrue\n", err = "", code = 0 }, result)
    end)

    it("os.exit in a child ends the program without noise", function()
      local result = helper.run [[
        local neap = require "neap"
        neap.create_task(function()
          local g <close> = neap.TaskGroup()
          g:create_task(neap.sleep, 3600)
          g:create_task(function() neap.sleep(0.001) os.exit(3) end)
        end):await()
      ]]
      assert.same({ out = "", err = "", code = 3 }, result)
    end)

    it("an uncaught group shows where each error was raised", function()
      local result = helper.run [[
local neap = require "neap"
local function fail(what)
  neap.sleep(0)
  error(what)
end
local function inner()
  local g <close> = neap.TaskGroup()
  g:create_task(fail, "deep")
end
local g <close> = neap.TaskGroup()
g:create_task(inner)
g:create_task(function()
  pcall(neap.sleep, 60)
  error "one"
end)
]]
      assert.equal(1, result.code)
      assert.equal("", result.out)
      assert.matches("^neap: ExceptionGroup: unhandled errors in a TaskGroup %(2 errors%)\n"
        .. "  1: ExceptionGroup: unhandled errors in a TaskGroup %(1 error%)\n"
        .. "    1: main.lua:4: deep\n"
        .. "  2: main.lua:14: one\nstack traceback:", result.err)
      assert.matches("in a TaskGroup made at main.lua:10", result.err)
      assert.matches("\n  error 1: 1 error\n.*main.lua:9: in function <main.lua:6>\n"
        .. "  in task 'Task%-1', created at main.lua:11\n", result.err)
      assert.matches("\n  error 1%.1: main.lua:4: deep\n.*main.lua:4: in function <main.lua:2>\n"
        .. "  in task 'Task%-3', created at main.lua:8\n", result.err)
      assert.matches("\n  error 2: main.lua:14: one\n.*main.lua:14: in function <main.lua:12>\n"
        .. "  in task 'Task%-2', created at main.lua:12\n", result.err)
    end)
  end)

  it("takes no tasks when its loop was closed, also when there is another", function()
    local own = neap.new_event_loop()
    neap.set_event_loop(own)
    local group = neap.TaskGroup()
    own:close()
    local other = neap.new_event_loop()
    neap.set_event_loop(other)
    assert.has_error(function() group:create_task(print) end, "Event loop is closed")
    other:close()
    neap.set_event_loop(loop)
    group:close()
  end)
end)
