--- as_completed: each of several when it ends.

local neap = require "neap"
local helper = require "spec.helper"

local catch, catch_in_task, in_task = helper.catch, helper.catch_in_task, helper.in_task
local elapsed, both, sleepers = helper.elapsed, helper.both, helper.sleepers
local failing, reports = helper.failing, helper.reports
local TimeoutError, CancelledError = neap.TimeoutError, neap.CancelledError

local loop
helper.virtual_time(before_each, after_each)
before_each(function() loop = neap.get_event_loop() end)

describe("as_completed", function()
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

    it("refuses options that it does not know", function()
      assert.matches("unknown option 'return_when' to 'neap.as_completed'",
        catch(neap.as_completed, {}, { return_when = "first_completed" }))
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
