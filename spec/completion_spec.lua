--- wait and as_completed: following several to their ends.

local neap = require "neap"
local core = require "neap.core.test"
local helper = require "spec.helper"

local catch, catch_in_task, in_task = helper.catch, helper.catch_in_task, helper.in_task
local TimeoutError, CancelledError = neap.TimeoutError, neap.CancelledError

local loop, start

local function elapsed() return math.floor((loop:time() - start) * 1000 + 0.5) / 1000 end

local function direct(fn, ...) return fn(...) end

--- Runs `case(run)` twice: with `run` calling a function here, and in a task.
local function both(case)
  case(direct)
  start = loop:time()
  case(in_task)
end

local function virtual_time()
  before_each(function()
    core.freeze(true)
    loop = neap.get_event_loop()
    start = loop:time()
  end)
  after_each(core.thaw)
  after_each(function()
    neap.sleep(0) -- no cancellation of the main chunk is left over
  end)
end

--- Tasks that give their name after so many seconds: { { name, delay }, ... }
local function sleepers(list)
  local tasks = {}
  for i, one in ipairs(list) do tasks[i] = neap.create_task(neap.sleep, one[2], one[1]) end
  return tasks
end

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

local function failing(value, delay)
  return function()
    neap.sleep(delay)
    error(value, 0)
  end
end

describe("wait", function()
  local reports = helper.reports
  virtual_time()

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

  it("loses none that a finalizer ends while it gathers its lists", function()
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

describe("as_completed", function()
  local reports = helper.reports
  virtual_time()

  it("gives the tasks themselves, in the order of completion", function()
    both(function(run)
      local tasks = sleepers { { "c", 3 }, { "a", 1 }, { "b", 2 } }
      local got, times = {}, {}
      run(function()
        for task in neap.as_completed(tasks) do
          got[#got + 1] = task
          times[#times + 1] = elapsed()
        end
      end)
      assert.same({ tasks[2], tasks[3], tasks[1] }, got)
      assert.same({ 1, 2, 3 }, times)
    end)
  end)

  it("gives those that fail or were cancelled as well, unseen", function()
    both(function(run)
      run(function()
        local tasks = { neap.create_task(failing("failed", 1)), neap.create_task(neap.sleep, 9) }
        loop:call_later(2, tasks[2].cancel, tasks[2])
        local got = {}
        for task in neap.as_completed(tasks) do got[#got + 1] = task end
        assert.same(tasks, got)
        assert.equal("failed", got[1]:exception())
        assert.is_true(got[2]:cancelled())
      end)
    end)
    for _ in neap.as_completed { failing("unseen", 1) } do end
    collectgarbage()
    collectgarbage()
    neap.sleep(0)
    assert.equal("unseen", reports.take()[1].exception)
  end)

  it("starts functions when it is called", function()
    local order = {}
    in_task(function()
      local iterator = neap.as_completed { function() order[#order + 1] = "ran" end }
      helper.settle()
      order[#order + 1] = "first call"
      iterator():await()
      assert.is_nil(iterator())
      assert.is_nil(iterator())
    end)
    assert.same({ "ran", "first call" }, order)
  end)

  it("gives one that is there twice once, and nothing for nothing", function()
    both(function(run)
      local future, count = neap.Future(), 0
      loop:call_later(1, future.set_result, future)
      run(function()
        for one in neap.as_completed { future, future, future } do
          assert.equal(future, one)
          count = count + 1
        end
        for _ in neap.as_completed {} do count = count + 100 end
      end)
      assert.equal(1, count)
    end)
  end)

  it("does not wait for what is done already", function()
    both(function(run)
      local one, two, ran = neap.Future(), neap.Future(), nil
      two:set_result()
      one:set_result()
      run(function()
        local other = neap.create_task(function() ran = true end)
        local got = {}
        for future in neap.as_completed { one, two } do got[#got + 1] = future end
        assert.same({ one, two }, got)
        assert.is_nil(ran)
        other:await()
        ran = nil
      end)
    end)
  end)

  it("keeps those that end while the loop's body is busy", function()
    both(function(run)
      local got = {}
      run(function()
        for task in neap.as_completed(sleepers { { "c", 3 }, { "a", 1 }, { "b", 2 } }) do
          got[#got + 1] = task:result()
          if #got == 1 then neap.sleep(10) end
        end
      end)
      assert.same({ "a", "b", "c" }, got)
    end)
  end)

  it("of 10,000", function()
    local n = helper.many(10000)
    both(function(run)
      local futures, count = {}, 0
      for i = 1, n do futures[i] = neap.Future() end
      neap.create_task(function()
        neap.sleep(1)
        for i = n, 1, -1 do
          futures[i]:set_result(i)
          if i % 100 == 0 then neap.sleep(0) end
        end
      end)
      run(function()
        for future in neap.as_completed(futures) do
          if future:result() ~= n - count then assert.equal(n - count, future:result()) end
          count = count + 1
        end
      end)
      assert.equal(n, count)
    end)
  end)

  describe("with a time-out", function()
    it("raises TimeoutError for what is not done; nothing is cancelled", function()
      both(function(run)
        local tasks, got = sleepers { { "b", 5 }, { "a", 1 } }, {}
        local err = catch(run, function()
          for task in neap.as_completed(tasks, { timeout = 2 }) do
            got[#got + 1] = task:result()
          end
        end)
        assert.is_true(TimeoutError:is(err))
        assert.same({ "a" }, got)
        assert.equal(2, elapsed())
        assert.equal("b", tasks[1]:await())
      end)
    end)

    it("gives what was in time, however late it is asked for", function()
      both(function(run)
        local got = {}
        local err = catch(run, function()
          for task in neap.as_completed(sleepers { { "a", 0.5 }, { "b", 0.9 }, { "late", 2 } },
            { timeout = 1 }) do
            got[#got + 1] = task:result()
            neap.sleep(5)
          end
        end)
        assert.is_true(TimeoutError:is(err))
        assert.same({ "a", "b" }, got) -- not the late one, though it is done by now
      end)
    end)

    it("goes on raising", function()
      local future = neap.Future()
      in_task(function()
        local iterator = neap.as_completed({ future }, { timeout = 1 })
        for _ = 1, 3 do assert.is_true(TimeoutError:is(catch(iterator))) end
        assert.equal(1, elapsed())
        future:set_result()
        assert.is_true(TimeoutError:is(catch(iterator)))
      end)
    end)

    it("of 0 or less gives what is done and what is ready", function()
      local future, other = neap.Future(), neap.Future()
      future:set_result()
      for _, timeout in ipairs { 0, -1, -math.huge } do
        local got = {}
        assert.is_true(TimeoutError:is(catch_in_task(function()
          for one in neap.as_completed({ other, future }, { timeout = timeout }) do
            got[#got + 1] = one
          end
        end)))
        assert.same({ future }, got)
      end
      assert.equal(0, elapsed())
    end)

    it("does not matter when all are done", function()
      local count = 0
      for _ in neap.as_completed({ function() end, neap.create_task(neap.sleep, 1) },
        { timeout = 3600 }) do count = count + 1 end
      assert.equal(2, count)
      assert.equal(1, elapsed())
      neap.sleep(3600)
    end)

    it("refuses what is no time", function()
      assert.matches("bad argument #2 to '.-as_completed' %(timeout: seconds expected%)",
        catch(function() neap.as_completed({}, { timeout = 0 / 0 }) end))
    end)
  end)

  describe("left", function()
    it("by break: follows nothing any more, and its deadline goes", function()
      both(function(run)
        local tasks = sleepers { { "a", 1 }, { "b", 2 } }
        local iterator
        run(function()
          for task in neap.as_completed(tasks, { timeout = 3600 }) do
            assert.equal("a", task:result())
            if task then break end
          end
          local a, b, c, d = neap.as_completed(tasks, { timeout = 3600 })
          assert.same({ nil, nil }, { b, c })
          assert.equal(a, d) -- the closing value of a for loop
          iterator = a
          d:close()
        end)
        assert.is_nil(iterator())
        assert.equal("<as_completed: 2 of 2 done>", tostring(iterator))
        assert.equal("b", tasks[2]:await())
        assert.equal(2, elapsed())
      end)
    end)

    it("by an error", function()
      local task = neap.create_task(neap.sleep, 2, "kept")
      assert.equal("out", catch_in_task(function()
        for _ in neap.as_completed { task, function() end } do error("out", 0) end
      end))
      assert.equal("kept", task:await())
    end)

    it("alone, and collected", function()
      local future = neap.Future()
      local weak = setmetatable({}, { __mode = "v" })
      in_task(function() weak[1] = neap.as_completed({ future }, { timeout = 3600 }) end)
      neap.sleep(0)
      collectgarbage()
      collectgarbage()
      assert.is_nil(weak[1])
      future:set_result()
      neap.sleep(1)
      assert.equal(1, elapsed())
    end)

    it("not by who calls its __gc, with anything, while a task waits in it", function()
      local future = neap.Future()
      local iterator = neap.as_completed { future }
      local gc = iterator.__gc
      local task = neap.create_task(function() return iterator() end)
      neap.sleep(0)
      gc() gc(io.stdout) gc(neap.Lock()) gc(iterator)
      future:set_result()
      gc(iterator)
      assert.equal(future, task:await())
      gc(iterator) gc(iterator)
      assert.matches("collected", catch(function() iterator() end))
    end)

    it("to be closed by another while a task waits in it: that gets the end", function()
      local iterator = neap.as_completed { neap.Future() }
      local task = neap.create_task(function() return iterator() end)
      neap.sleep(0)
      iterator:close()
      assert.is_nil(task:await())
    end)
  end)

  describe("shared by tasks", function()
    it("gives each of them to one, in the order of asking #ordered", function()
      local tasks = sleepers { { "a", 1 }, { "b", 2 }, { "c", 3 }, { "d", 4 } }
      local iterator = neap.as_completed(tasks)
      local got = {}
      local function worker(name)
        return function()
          for task in iterator do got[#got + 1] = name .. task:result() end
        end
      end
      neap.gather(worker "1", worker "2")
      assert.same({ "1a", "2b", "1c", "2d" }, got)
    end)

    it("several that end at once go to several #ordered", function()
      local futures = {}
      for i = 1, 5 do futures[i] = neap.Future() end
      local iterator, got = neap.as_completed(futures), {}
      local tasks = {}
      for i = 1, 7 do
        tasks[i] = neap.create_task(function()
          local future = iterator()
          got[i] = future and future:result() or "end"
        end)
      end
      neap.sleep(0)
      for i = 1, 5 do futures[i]:set_result(i) end
      neap.gather(tasks)
      assert.same({ 1, 2, 3, 4, 5, "end", "end" }, got)
    end)

    it("and one that comes while the last is on its way to another", function()
      both(function(run)
        local future = neap.Future()
        local iterator = neap.as_completed { future }
        local task = neap.create_task(function() return iterator() end)
        neap.sleep(0)
        run(function()
          future:set_result() -- the task is woken, and has not run yet
          assert.is_nil(iterator())
        end)
        assert.equal(future, task:await())
      end)
    end)

    it("and one that comes while another is told of the time-out", function()
      local future = neap.Future()
      local iterator = neap.as_completed({ future }, { timeout = 1 })
      local late
      local task = neap.create_task(function()
        loop:call_later(1, function() late = neap.create_task(function() return iterator() end) end)
        return iterator()
      end)
      assert.is_true(TimeoutError:is(catch(task.await, task)))
      neap.sleep(1)
      assert.is_true(TimeoutError:is(catch(late.await, late)))
    end)

    it("and what a cancelled one was woken for goes to the next", function()
      local future, other = neap.Future(), neap.Future()
      local iterator = neap.as_completed { future, other }
      local one = neap.create_task(function() return iterator() end)
      local two = neap.create_task(function() return iterator() end)
      neap.sleep(0)
      future:set_result()
      one:cancel()
      assert.is_true(CancelledError:is(catch(one.await, one)))
      assert.equal(future, two:await())
      iterator:close()
    end)

    it("and the same when it was the last, with one more on the way", function()
      local future = neap.Future()
      local iterator = neap.as_completed { future }
      local one = neap.create_task(function() return iterator() end)
      neap.sleep(0)
      future:set_result()
      one:cancel()
      assert.equal(future, iterator())
      assert.is_true(CancelledError:is(catch(one.await, one)))
    end)
  end)

  it("cancelled while it waits: the next call goes on", function()
    local tasks = sleepers { { "a", 2 }, { "b", 3 } }
    local got = {}
    local task = neap.create_task(function()
      local iterator = neap.as_completed(tasks)
      pcall(iterator)
      neap.current_task():uncancel()
      for one in iterator do got[#got + 1] = one:result() end
    end)
    neap.sleep(1)
    task:cancel()
    task:await()
    assert.same({ "a", "b" }, got)
  end)

  it("raises a swallowed cancellation again, also when something is done", function()
    local future = neap.Future()
    future:set_result()
    local task = neap.create_task(function()
      pcall(neap.sleep, 60)
      return (neap.as_completed { future }())
    end)
    neap.sleep(0)
    task:cancel()
    assert.is_true(CancelledError:is(catch(task.await, task)))
  end)

  it("works in a generator; is not called where Lua cannot wait", function()
    both(function(run)
      local got = {}
      run(function()
        for name in coroutine.wrap(function()
          for task in neap.as_completed(sleepers { { "b", 2 }, { "a", 1 } }) do
            coroutine.yield(task:result())
          end
        end) do got[#got + 1] = name end
      end)
      assert.same({ "a", "b" }, got)
    end)
    local iterator = neap.as_completed { neap.Future() }
    assert.matches("cannot wait in 'neap.as_completed' here: .*'table.sort'",
      catch_in_task(table.sort, { 2, 1 }, function(a, b)
        iterator()
        return a < b
      end))
    iterator:close()
    assert.matches("as_completed iterator expected, got table", catch(iterator.close, {}))
  end)

  it("50,000 deep is cancelled from the outside", function()
    local n, ended = helper.many(50000), 0
    local function nest(depth)
      if depth == n then return neap.sleep(1e6) end
      local child = neap.create_task(nest, depth + 1)
      local _ <close> = setmetatable({}, { __close = function()
        ended = ended + 1
        child:cancel()
      end })
      for _ in neap.as_completed { child } do error "done" end
    end
    local task = neap.create_task(nest, 1)
    neap.sleep(1)
    task:cancel()
    assert.is_true(CancelledError:is(catch(task.await, task)))
    helper.settle(n + 5)
    assert.equal(n - 1, ended)
  end)

  it("is closed with its loop", function()
    local other = neap.new_event_loop()
    neap.set_event_loop(other)
    local future = other:create_future()
    local iterator = neap.as_completed({ future }, { timeout = 1 })
    other:close()
    neap.set_event_loop(loop)
    assert.is_false(TimeoutError:is(catch(iterator))) -- no time has passed
    iterator:close()
    assert.equal("<as_completed: 1 of 1 done>", tostring(iterator))
  end)
end)
