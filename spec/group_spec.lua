--- TaskGroup: tasks that end before the block does.

local neap = require "neap"
local helper = require "spec.helper"

local catch, catch_in_task, in_task = helper.catch, helper.catch_in_task, helper.in_task
local elapsed, both, failing, grouped = helper.elapsed, helper.both, helper.failing, helper.grouped
local waiter = helper.waiter
local CancelledError, ExceptionGroup = neap.CancelledError, neap.ExceptionGroup

local loop
helper.virtual_time(before_each, after_each)
before_each(function() loop = neap.get_event_loop() end)

describe("TaskGroup", function()
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
end)
