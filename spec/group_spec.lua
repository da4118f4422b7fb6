--- TaskGroup: tasks that end before the block does.

local neap = require "neap"
local core = require "neap.core.test"
local helper = require "spec.helper"

local catch, catch_in_task, in_task = helper.catch, helper.catch_in_task, helper.in_task
local CancelledError, ExceptionGroup = neap.CancelledError, neap.ExceptionGroup

describe("TaskGroup", function()
  local reports = helper.reports
  local loop, start
  before_each(function()
    core.freeze(true)
    loop = neap.get_event_loop()
    start = loop:time()
  end)
  after_each(core.thaw)
  after_each(function()
    neap.sleep(0) -- no cancellation of the main chunk is left over
  end)

  local function elapsed() return math.floor((loop:time() - start) * 1000 + 0.5) / 1000 end

  local function direct(fn, ...) return fn(...) end

  --- Runs `case(run)` twice: with `run` calling a function here, and in a task.
  local function both(case)
    case(direct)
    start = loop:time()
    case(in_task)
  end

  --- `fn(g)` inside a group; gives its results.
  local function grouped(fn, ...)
    local g <close> = neap.TaskGroup()
    return fn(g, ...)
  end

  --- What `fn` gives to its log when it is cancelled: a function for a task that waits.
  local function waiter(log, name)
    return function()
      local ok, err = pcall(neap.sleep, 1e6)
      log[#log + 1] = name
      if not ok then error(err, 0) end
    end
  end

  --- A task's function that fails with `value` after `delay`.
  local function failing(value, delay)
    return function()
      neap.sleep(delay or 0)
      error(value, 0)
    end
  end

  describe("the end of the block", function()
    it("waits for all tasks", function()
      both(function(run)
        local log = {}
        local result = run(grouped, function(g)
          for i = 1, 3 do
            g:create_task(function(name)
              neap.sleep(i)
              log[#log + 1] = name
            end, "task " .. i)
          end
          log[#log + 1] = "body"
          return "result"
        end)
        assert.equal("result", result)
        assert.same({ "body", "task 1", "task 2", "task 3" }, log)
        assert.equal(3, elapsed())
      end)
    end)

    it("does not wait when there is nothing to wait for", function()
      both(function(run)
        local ran
        local other = neap.create_task(function() ran = true end)
        run(grouped, function() end)
        run(function()
          ran = nil
          grouped(function() end)
          assert.is_nil(ran)
        end)
        other:await()
      end)
    end)

    it("gives the tasks, whose results stay", function()
      both(function(run)
        local one, two
        run(grouped, function(g)
          one = g:create_task(function(...) return ... end, 1, nil, 3)
          two = g:create_task(coroutine.create(function(x) return x * 2 end), 21)
        end)
        assert.same({ 1, nil, 3 }, { one:result() })
        assert.equal(42, two:result())
      end)
    end)

    it("waits for those that children add meanwhile", function()
      both(function(run)
        local log = {}
        run(grouped, function(g)
          g:create_task(function()
            neap.sleep(1)
            g:create_task(function()
              neap.sleep(1)
              g:create_task(function()
                neap.sleep(1)
                log[1] = "grandchild"
              end)
            end)
          end)
        end)
        assert.same({ "grandchild" }, log)
        assert.equal(3, elapsed())
      end)
    end)

    it("is reached once: close() again does nothing", function()
      both(function(run)
        run(function()
          local g <close> = neap.TaskGroup()
          local task = g:create_task(neap.sleep, 1)
          g:close()
          assert.is_true(task:done())
          g:close()
        end)
      end)
    end)

    it("does not wait for a child that was cancelled alone, and is no failure", function()
      both(function(run)
        local sibling
        run(grouped, function(g)
          local task = g:create_task(neap.sleep, 1e6)
          sibling = g:create_task(neap.sleep, 1, "well")
          neap.sleep(0)
          task:cancel()
        end)
        assert.equal("well", sibling:result())
      end)
    end)

    it("works in a generator, and with a group of a generator's", function()
      both(function(run)
        local got = {}
        run(function()
          for i in coroutine.wrap(function()
            local g <close> = neap.TaskGroup()
            g:create_task(neap.sleep, 1)
            coroutine.yield(1)
            g:create_task(neap.sleep, 2)
            coroutine.yield(2)
          end) do got[#got + 1] = i end
        end)
        assert.same({ 1, 2 }, got)
        assert.equal(2, elapsed())
      end)
    end)

    it("comes for 10,000 children", function()
      local n, done = helper.many(10000), 0
      both(function(run)
        done = 0
        run(grouped, function(g)
          for _ = 1, n do
            g:create_task(function()
              neap.sleep(1)
              done = done + 1
            end)
          end
        end)
        assert.equal(n, done)
      end)
    end)
  end)

  describe("the first failure", function()
    it("cancels the body and the other tasks, and leaves as an ExceptionGroup #ordered", function()
      both(function(run)
        local value, log, in_body = {}, {}, nil
        local err = catch(run, grouped, function(g)
          g:create_task(waiter(log, "one"))
          g:create_task(failing(value, 1))
          g:create_task(waiter(log, "two"))
          in_body = catch(neap.sleep, 1e6)
          error(in_body, 0)
        end)
        assert.is_true(ExceptionGroup:is(err))
        assert.equal("unhandled errors in a TaskGroup", err.message)
        assert.equal(1, #err.errors)
        assert.equal(value, err.errors[1])
        assert.is_true(CancelledError:is(in_body))
        assert.same({ "one", "two" }, log)
        assert.equal(1, elapsed())
      end)
    end)

    it("after the end of the body cancels the other tasks alone", function()
      both(function(run)
        local log, count = {}, nil
        local err = catch(run, function()
          local ok, e = pcall(grouped, function(g)
            g:create_task(waiter(log, "one"))
            g:create_task(failing("failed", 1))
          end)
          local task = neap.current_task()
          count = task and task:cancelling() or 0
          neap.sleep(0) -- nothing is raised again
          assert.is_false(ok)
          error(e, 0)
        end)
        assert.same({ "failed" }, err.errors)
        assert.same({ "one" }, log)
        assert.equal(0, count)
      end)
    end)

    it("is no cancellation of the task: it goes on after a pcall", function()
      both(function(run)
        run(function()
          local err = catch(grouped, function(g)
            g:create_task(failing "failed")
            neap.sleep(1e6)
          end)
          assert.is_true(ExceptionGroup:is(err))
          neap.sleep(1)
          local task = neap.current_task()
          assert.equal(0, task and task:cancelling() or 0)
        end)
      end)
    end)

    it("is a failure also when the body swallows the cancellation", function()
      both(function(run)
        local err = catch(run, grouped, function(g)
          g:create_task(failing "failed")
          pcall(neap.sleep, 1e6)
          return "unheard"
        end)
        assert.same({ "failed" }, err.errors)
      end)
    end)

    it("lets those that are ready before it have their turn", function()
      local ran
      pcall(in_task, grouped, function(g)
        g:create_task(failing("failed", 1))
        g:create_task(function()
          neap.sleep(1)
          ran = true
        end)
      end)
      assert.is_true(ran)
    end)

    it("does not start what has not started", function()
      local ran
      local err = catch_in_task(grouped, function(g)
        g:create_task(error, "at once")
        neap.sleep(0)
        neap.sleep(0)
        g:create_task(function() ran = true end)
      end)
      assert.equal(1, #err.errors)
      assert.is_nil(ran)
    end)

    it("leaves as what was raised: strings, tables, nil", function()
      both(function(run)
        local value = setmetatable({}, { __tostring = function() return "mine" end })
        for _, raised in ipairs { "a string", value, 5 } do
          local err = catch(run, grouped, function(g) g:create_task(failing(raised)) end)
          assert.equal(raised, err.errors[1])
        end
        local err = catch(run, grouped, function(g) g:create_task(error) end)
        assert.is_true(neap.Error:is(err.errors[1]))
        assert.equal("error(nil)", err.errors[1].message)
      end)
    end)
  end)

  describe("several failures", function()
    it("are all there, in the order of failing #ordered", function()
      both(function(run)
        local err = catch(run, grouped, function(g)
          g:create_task(function()
            local ok = pcall(neap.sleep, 1e6)
            assert(not ok)
            error("while being cancelled", 0)
          end)
          g:create_task(failing("second", 2))
          g:create_task(failing("first", 1))
          g:create_task(failing("at once with first", 1))
        end)
        assert.same({ "first", "at once with first", "while being cancelled" }, err.errors)
      end)
    end)

    it("come with that of the body, which is the last #ordered", function()
      both(function(run)
        local err = catch(run, grouped, function(g)
          g:create_task(function()
            pcall(neap.sleep, 1e6)
            error("child", 0)
          end)
          neap.sleep(0)
          error("body", 0)
        end)
        assert.same({ "child", "body" }, err.errors)
      end)
    end)

    it("count as seen", function()
      catch_in_task(grouped, function(g)
        for i = 1, 100 do g:create_task(failing(i)) end
      end)
      collectgarbage()
      collectgarbage() -- the guard fails the test if one is reported
    end)
  end)

  describe("a body that fails", function()
    it("cancels all and leaves as an ExceptionGroup of its error #ordered", function()
      both(function(run)
        local value, log = {}, {}
        local err = catch(run, grouped, function(g)
          g:create_task(waiter(log, "one"))
          g:create_task(waiter(log, "two"))
          neap.sleep(1)
          error(value)
        end)
        assert.is_true(ExceptionGroup:is(err))
        assert.equal(1, #err.errors)
        assert.equal(value, err.errors[1])
        assert.same({ "one", "two" }, log)
        assert.equal(1, elapsed())
      end)
    end)

    it("without tasks does so as well", function()
      both(function(run)
        local err = catch(run, grouped, function() error("alone", 0) end)
        assert.same({ "alone" }, err.errors)
      end)
    end)

    it("with a CancelledError of somebody else's lets that out", function()
      both(function(run)
        local log = {}
        local err = catch(run, grouped, function(g)
          g:create_task(waiter(log, "one"))
          neap.sleep(0)
          local other = neap.create_task(neap.sleep, 1e6)
          other:cancel "other"
          other:await()
        end)
        assert.is_true(CancelledError:is(err))
        assert.equal("other", err.message)
        assert.same({ "one" }, log)
      end)
    end)

    it("waits for children that ignore the cancellation #ordered", function()
      both(function(run)
        local log = {}
        local err = catch(run, grouped, function(g)
          g:create_task(function()
            pcall(neap.sleep, 1e6)
            neap.current_task():uncancel()
            neap.sleep(5)
            log[1] = "took its time"
          end)
          neap.sleep(0)
          error("body", 0)
        end)
        assert.same({ "body" }, err.errors)
        assert.same({ "took its time" }, log)
        assert.equal(5, elapsed())
      end)
    end)
  end)

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

  describe("nested", function()
    it("a failure inside cancels the whole, as groups in a group", function()
      both(function(run)
        local log = {}
        local err = catch(run, grouped, function(outer)
          outer:create_task(waiter(log, "outer"))
          outer:create_task(grouped, function(inner)
            inner:create_task(waiter(log, "inner"))
            inner:create_task(failing("deep", 1))
          end)
        end)
        assert.equal(1, #err.errors)
        assert.is_true(ExceptionGroup:is(err.errors[1]))
        assert.same({ "deep" }, err.errors[1].errors)
        assert.same({ "inner", "outer" }, log)
      end)
    end)

    it("in one task: the inner block's error fails the outer body", function()
      both(function(run)
        local err = catch(run, grouped, function()
          grouped(function(inner) inner:create_task(failing "deep") end)
        end)
        assert.same({ "deep" }, err.errors[1].errors)
      end)
    end)

    it("in one task: a failure outside cancels the inner block", function()
      both(function(run)
        local log = {}
        local err = catch(run, grouped, function(outer)
          outer:create_task(failing("outside", 1))
          grouped(function(inner) inner:create_task(waiter(log, "inner")) end)
        end)
        assert.same({ "outside" }, err.errors)
        assert.same({ "inner" }, log)
      end)
    end)

    it("50,000 deep is cancelled as a whole", function()
      local n, ended = helper.many(50000), 0
      local function nest(depth)
        local _ <close> = setmetatable({}, { __close = function() ended = ended + 1 end })
        local g <close> = neap.TaskGroup()
        if depth < n then
          g:create_task(nest, depth + 1)
        else
          g:create_task(neap.sleep, 1e6)
        end
      end
      local task = neap.create_task(nest, 1)
      neap.sleep(1)
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.equal(n, ended)
    end)

    it("50,000 deep fails from the inside, and its text stays short", function()
      local n = helper.many(50000)
      local function nest(depth)
        local g <close> = neap.TaskGroup()
        g:create_task(depth < n and nest or error, depth < n and depth + 1 or "innermost")
      end
      local err = catch_in_task(nest, 1)
      assert.is_true(#tostring(err) < 2000)
      local depth = 0
      while ExceptionGroup:is(err) do
        assert(#err.errors == 1)
        err, depth = err.errors[1], depth + 1
      end
      assert.equal(n, depth)
      assert.equal("innermost", err)
    end)
  end)

  describe("create_task", function()
    it("is refused once the group is finished", function()
      local group
      in_task(grouped, function(g) group = g end)
      assert.matches("TaskGroup <TaskGroup finished> is finished",
        catch(group.create_task, group, print))
    end)

    it("is refused while the group shuts down", function()
      local message
      local err = catch_in_task(grouped, function(g)
        g:create_task(function()
          pcall(neap.sleep, 1e6)
          message = catch(g.create_task, g, print)
        end)
        g:create_task(failing "failed")
      end)
      assert.same({ "failed" }, err.errors)
      assert.matches("TaskGroup <TaskGroup tasks=1 errors=1 cancelling> is shutting down", message)
    end)

    it("may come from any task and from callbacks, while the block is open", function()
      local log = {}
      in_task(grouped, function(g)
        local other = neap.create_task(function()
          g:create_task(function() log[#log + 1] = "of another task's" end)
        end)
        loop:call_soon(function()
          g:create_task(function()
            neap.sleep(1)
            log[#log + 1] = "of a callback's"
          end)
        end)
        other:await()
      end)
      assert.same({ "of another task's", "of a callback's" }, log)
    end)

    it("refuses what cannot be run", function()
      in_task(grouped, function(g)
        local started = coroutine.create(coroutine.yield)
        coroutine.resume(started)
        for _, bad in ipairs { 5, {}, "f", started } do
          assert.matches("bad argument #1 to 'create_task' %(awaitable expected",
            catch(function() g:create_task(bad) end))
        end
        assert.matches("bad argument #1 to 'create_task' %(value expected%)",
          catch(function() g:create_task() end))
        for _, bad in ipairs { neap.Future(), neap.current_task() } do
          assert.matches("function or coroutine expected, got a Task or Future",
            catch(g.create_task, g, bad))
        end
        assert.matches("TaskGroup expected, got table", catch(g.create_task, {}, print))
        assert.equal("<TaskGroup entered>", tostring(g))
      end)
    end)

    it("does not make the group grow when it lives long", function()
      in_task(grouped, function(g)
        local function run(n)
          for _ = 1, n do
            g:create_task(neap.sleep, 0)
            neap.sleep(0)
            neap.sleep(0)
          end
          collectgarbage()
          collectgarbage()
          return collectgarbage "count"
        end
        local before = run(100)
        local after = run(helper.many(100000))
        assert.is_true(after < before + 20, after - before)
      end)
    end)
  end)

  it("tells its state", function()
    local texts = {}
    pcall(in_task, grouped, function(g)
      texts[1] = tostring(g)
      g:create_task(failing "failed")
      g:create_task(function()
        pcall(neap.sleep, 1e6)
        texts[3] = tostring(g)
      end)
      texts[2] = tostring(g)
    end)
    assert.same({ "<TaskGroup entered>", "<TaskGroup tasks=2 entered>",
      "<TaskGroup tasks=1 errors=1 cancelling>" }, texts)
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
        local sender <close> = io.popen "sleep 0.05; kill -INT $PPID"
        local ok, err = pcall(function()
          local g <close> = neap.TaskGroup()
          g:create_task(function()
            local _ <close> = setmetatable({}, { __close = function(_, e) print("child", e) end })
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
