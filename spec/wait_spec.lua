--- wait: following several to their ends.

local neap = require "neap"
local helper = require "spec.helper"

local catch, catch_in_task, in_task = helper.catch, helper.catch_in_task, helper.in_task
local elapsed, both, sleepers = helper.elapsed, helper.both, helper.sleepers
local failing, reports = helper.failing, helper.reports
local TimeoutError, CancelledError = neap.TimeoutError, neap.CancelledError

local loop
helper.virtual_time(before_each, after_each)
before_each(function() loop = neap.get_event_loop() end)

local function results(tasks)
  local list = {}
  for i, task in ipairs(tasks) do list[i] = task:result() end
  return list
end

local function cancel_all(tasks)
  for _, task in ipairs(tasks) do
    task:cancel()
    pcall(task.await, task)
  end
end

describe("wait", function()
  describe("for all", function()
    it("gives them in the order of completion", function()
      both(function(run)
        local tasks = sleepers { { "c", 3 }, { "a", 1 }, { "b", 2 } }
        local done, pending = run(neap.wait, tasks)
        assert.same({ "a", "b", "c" }, results(done))
        assert.same({}, pending)
        assert.equal(tasks[2], done[1])
        assert.equal(3, elapsed())
      end)
    end)

    it("raises nothing for those that fail or were cancelled", function()
      both(function(run)
        local tasks = { neap.create_task(failing("failed", 1)), neap.create_task(neap.sleep, 9),
          neap.create_task(neap.sleep, 2) }
        loop:call_later(1.5, tasks[2].cancel, tasks[2])
        local done = run(neap.wait, tasks)
        assert.equal(tasks[1], done[1])
        assert.equal(tasks[2], done[2])
        assert.equal(tasks[3], done[3])
        assert.equal("failed", done[1]:exception())
        assert.equal(2, elapsed())
      end)
    end)

    it("leaves errors to be looked at", function()
      neap.wait { failing("unseen", 1) }
      collectgarbage()
      collectgarbage()
      neap.sleep(0)
      assert.equal("unseen", reports.take()[1].exception)
    end)

    it("starts functions and coroutines", function()
      both(function(run)
        local done = run(neap.wait, { function() return "function" end,
          coroutine.create(function() return "coroutine" end), neap.create_task(function()
            return "task"
          end) })
        local list = results(done)
        table.sort(list)
        assert.same({ "coroutine", "function", "task" }, list)
      end)
    end)

    it("may have one twice; it is given once", function()
      both(function(run)
        local task, future = neap.create_task(neap.sleep, 1, "task"), neap.Future()
        local done, pending = run(neap.wait, { task, future, task, future, task },
          { timeout = 2 })
        assert.equal(1, #done)
        assert.equal(task, done[1])
        assert.equal(1, #pending)
        assert.equal(future, pending[1])
      end)
    end)

    it("that are done already lets nobody else run, in the order of the list", function()
      both(function(run)
        local one, two = neap.Future(), neap.Future()
        two:set_result "two"
        one:set_exception "one"
        one:exception()
        run(function()
          local ran
          local other = neap.create_task(function() ran = true end)
          local done, pending = neap.wait { one, two }
          assert.same({ one, two }, done)
          assert.same({}, pending)
          assert.is_nil(ran)
          other:await()
        end)
      end)
    end)

    it("of which some are done: those come first", function()
      both(function(run)
        local done_before = neap.Future()
        done_before:set_result "before"
        local task = neap.create_task(neap.sleep, 1, "task")
        assert.same({ "before", "task" }, results((run(neap.wait, { task, done_before }))))
      end)
    end)

    it("of 10,000", function()
      local n = helper.many(10000)
      both(function(run)
        local futures = {}
        for i = 1, n do futures[i] = neap.Future() end
        loop:call_soon(function()
          for i = n, 1, -1 do futures[i]:set_result(i) end
        end)
        local done, pending = run(neap.wait, futures)
        assert.same({ n, 0 }, { #done, #pending })
        for i = 1, n do
          if done[i] ~= futures[n + 1 - i] then assert.equal(i, done[i]:result()) end
        end
      end)
    end)
  end)

  describe("for the first", function()
    it("gives it, and the pending ones in the order of the list", function()
      both(function(run)
        local tasks = sleepers { { "c", 3 }, { "a", 1 }, { "b", 2 } }
        local done, pending = run(neap.wait, tasks, { return_when = "first_completed" })
        assert.same({ "a" }, results(done))
        assert.same({ tasks[1], tasks[3] }, pending)
        assert.equal(1, elapsed())
        done, pending = run(neap.wait, pending, { return_when = "first_completed" })
        assert.same({ "b" }, results(done))
        cancel_all(pending)
      end)
    end)

    it("gives all that are done by the time the caller runs", function()
      local one, two, three = neap.Future(), neap.Future(), neap.Future()
      loop:call_soon(function()
        two:set_result()
        one:set_result()
      end)
      local done, pending = neap.wait({ one, two, three }, { return_when = "first_completed" })
      assert.same({ two, one }, done)
      assert.same({ three }, pending)
    end)

    it("counts one that was cancelled", function()
      local tasks = sleepers { { "a", 1 }, { "b", 2 } }
      tasks[2]:cancel()
      local done, pending = neap.wait(tasks, { return_when = "first_completed" })
      assert.same({ tasks[2] }, done)
      cancel_all(pending)
    end)

    it("finds one that is done already", function()
      both(function(run)
        local future, other = neap.Future(), neap.Future()
        future:set_result()
        local done, pending = run(neap.wait, { other, future }, { return_when = "first_completed" })
        assert.same({ { future }, { other } }, { done, pending })
      end)
    end)
  end)

  describe("for the first failure", function()
    it("goes on past results and cancellations", function()
      both(function(run)
        local tasks = sleepers { { "a", 1 }, { "b", 9 }, { "c", 9 } }
        tasks[4] = neap.create_task(failing("failed", 3))
        loop:call_later(2, tasks[2].cancel, tasks[2])
        local done, pending = run(neap.wait, tasks, { return_when = "first_exception" })
        assert.same({ tasks[1], tasks[2], tasks[4] }, done)
        assert.same({ tasks[3] }, pending)
        assert.equal("failed", tasks[4]:exception())
        assert.equal(3, elapsed())
        cancel_all(pending)
      end)
    end)

    it("waits for all when none fails", function()
      both(function(run)
        local done = run(neap.wait, sleepers { { "a", 2 }, { "b", 1 } },
          { return_when = "first_exception" })
        assert.same({ "b", "a" }, results(done))
      end)
    end)

    it("finds one that failed already, not one that was cancelled", function()
      local failed, cancelled, other = neap.Future(), neap.Future(), neap.Future()
      failed:set_exception "x"
      cancelled:cancel()
      local done, pending = neap.wait({ other, failed }, { return_when = "first_exception" })
      assert.same({ { failed }, { other } }, { done, pending })
      failed:exception()
      done, pending = neap.wait({ cancelled, other },
        { return_when = "first_exception", timeout = 1 })
      assert.same({ { cancelled }, { other } }, { done, pending })
      assert.equal(1, elapsed())
    end)
  end)

  describe("with a time-out", function()
    it("gives what is done by then; nothing is cancelled or raised", function()
      both(function(run)
        local tasks = sleepers { { "c", 3 }, { "a", 1 }, { "b", 2 } }
        local done, pending = run(neap.wait, tasks, { timeout = 1.5 })
        assert.same({ "a" }, results(done))
        assert.same({ tasks[1], tasks[3] }, pending)
        assert.equal(1.5, elapsed())
        done, pending = run(neap.wait, pending, { timeout = 0.1 })
        assert.same({ {}, { tasks[1], tasks[3] } }, { done, pending })
        assert.same({ "b", "c" }, results((run(neap.wait, pending, { timeout = math.huge }))))
      end)
    end)

    it("of 0 or less lets the others have a turn", function()
      both(function(run)
        for _, timeout in ipairs { 0, -1, -math.huge } do
          local task, slow = neap.create_task(neap.sleep, 0), neap.create_task(neap.sleep, 60)
          local done, pending = run(neap.wait, { task, slow }, { timeout = timeout })
          assert.equal(2, #done + #pending)
          cancel_all { task, slow }
        end
        assert.equal(0, elapsed())
      end)
    end)

    it("in the turn of a result: what came first counts", function()
      for _, first in ipairs { "result", "deadline" } do
        local future, other = neap.Future(), neap.Future()
        local function set() future:set_result "there" end
        if first == "result" then loop:call_later(1, set) end
        local task = neap.create_task(neap.wait, { future, other }, { timeout = 1 })
        neap.sleep(0)
        if first == "deadline" then loop:call_later(1, set) end
        local done, pending = task:await()
        if first == "result" then
          assert.same({ { future }, { other } }, { done, pending })
        else
          assert.same({ {}, { future, other } }, { done, pending })
        end
      end
    end)

    it("leaves no deadline behind", function()
      in_task(function()
        for _ = 1, helper.many(20000) do
          neap.wait({ function() end }, { timeout = 3600 })
        end
      end)
      assert.equal(0, elapsed())
    end)
  end)

  -- Where every park is a full collection the finalizer runs too early.
  local it_ = os.getenv "NEAP_GC_STRESS" and function() end or it
  it_("loses none that a finalizer ends while it gathers its lists", function()
    local a, b = neap.Future(), neap.Future()
    local task = neap.create_task(function()
      return neap.wait({ a, b }, { return_when = "first_completed" })
    end)
    neap.sleep(0)
    collectgarbage()
    collectgarbage "stop"
    collectgarbage("incremental", 100, 1000, 24) -- the next step is a whole cycle
    setmetatable({}, { __gc = function() b:set_result() end })
    loop:call_soon(function()
      a:set_result()
      collectgarbage "restart"
    end)
    local done, pending = task:await()
    collectgarbage("incremental", 200, 100, 13)
    assert.same({ a }, done)
    assert.same({ b }, pending)
  end)

  describe("cancelled", function()
    it("cancels none of them, and follows them no longer", function()
      local tasks = sleepers { { "a", 2 }, { "b", 3 } }
      local task = neap.create_task(neap.wait, tasks, { timeout = 60 })
      neap.sleep(1)
      task:cancel "outside"
      assert.equal("outside", catch(task.await, task).message)
      assert.equal(1, elapsed())
      assert.same({ "a", "b", n = 2 }, neap.gather(tasks))
    end)

    it("when it was woken already", function()
      local future = neap.Future()
      local task = neap.create_task(neap.wait, { future })
      neap.sleep(0)
      future:set_result "kept"
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.equal("kept", future:result())
    end)

    it("by a time-out at top level and in a task", function()
      both(function(run)
        local future = neap.Future()
        assert.is_true(TimeoutError:is(catch(run, function()
          local _ <close> = neap.timeout(1)
          neap.wait { future }
        end)))
        future:set_result()
      end)
    end)

    it("and swallowed, it raises again, and starts nothing", function()
      local ran
      local task = neap.create_task(function()
        pcall(neap.sleep, 60)
        neap.wait { function() ran = true end }
      end)
      neap.sleep(0)
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.is_nil(ran)
    end)
  end)

  describe("takes", function()
    it("a list with a metatable", function()
      local tasks = sleepers { { "a", 1 }, { "b", 2 } }
      local list = setmetatable({}, { __len = function() return 2 end,
        __index = function(_, i) return tasks[i] end })
      assert.same({ "a", "b" }, results((neap.wait(list))))
    end)

    it("no list that is empty, or none", function()
      both(function(run)
        assert.matches("bad argument #1 to '.-wait' %(no tasks or futures to wait for%)",
          catch(run, function() neap.wait {} end))
        assert.matches("bad argument #1 to '.-wait' %(table expected, got no value%)",
          catch(run, function() neap.wait() end))
        assert.matches("bad argument #1 to '.-wait' %(table expected, got neap.Future%)",
          catch(run, function() neap.wait(neap.Future()) end))
        for _, length in ipairs { -1, math.mininteger, 1 << 40 } do
          local list = setmetatable({}, { __len = function() return length end })
          assert.matches("length out of range", catch(run, neap.wait, list))
        end
      end)
    end)

    it("nothing else in it, and then starts none of them", function()
      local ran
      local function run() ran = true end
      for _, bad in ipairs { 5, "x", {} } do
        assert.matches("bad argument #1 to '.-wait' %(awaitable expected",
          catch(function() neap.wait { run, bad } end))
      end
      local other = neap.new_event_loop()
      assert.matches("cannot wait for a Future that belongs to another event loop",
        catch(neap.wait, { run, other:create_future() }))
      other:close()
      local task
      task = neap.create_task(function() neap.wait { run, task } end)
      assert.matches("a task cannot wait for itself", catch(task.await, task))
      neap.sleep(0)
      assert.is_nil(ran)
    end)

    it("options that make sense", function()
      local ran
      local list = { function() ran = true end }
      for _, bad in ipairs { "FIRST_COMPLETED", "", 5, true } do
        assert.matches("bad argument #2 to '.-wait' %(Invalid return_when value: "
          .. tostring(bad) .. "%)", catch(function() neap.wait(list, { return_when = bad }) end))
      end
      assert.matches("unknown option 'returnwhen' to 'neap.wait'",
        catch(neap.wait, list, { returnwhen = "all_completed" }))
      for _, bad in ipairs { "soon", 0 / 0, {} } do
        assert.matches("bad argument #2 to '.-wait' %(timeout: seconds expected%)",
          catch(function() neap.wait(list, { timeout = bad }) end))
      end
      assert.matches("bad argument #2 to '.-wait' %(table expected, got number%)",
        catch(function() neap.wait(list, 5) end))
      neap.sleep(0)
      assert.is_nil(ran)
    end)
  end)

  it("works in a generator, not in a comparison in a task", function()
    both(function(run)
      local got = run(function()
        return coroutine.wrap(function()
          coroutine.yield(#neap.wait { neap.create_task(neap.sleep, 1) })
        end)()
      end)
      assert.equal(1, got)
    end)
    local ran
    assert.matches("cannot wait in 'neap.wait' here: .*'table.sort'",
      catch_in_task(table.sort, { 2, 1 }, function(a, b)
        neap.wait { function() ran = true end }
        return a < b
      end))
    neap.sleep(0)
    assert.is_nil(ran)
  end)
end)
