--- timeout and timeout_at: a block that has only so much time.

local neap = require "neap"
local core = require "neap.core.test"
local helper = require "spec.helper"

local catch, catch_in_task, in_task = helper.catch, helper.catch_in_task, helper.in_task
local TimeoutError, CancelledError = neap.TimeoutError, neap.CancelledError

describe("timeout", function()
  local reports = helper.reports
  local loop, start
  before_each(function()
    core.freeze(true)
    loop = neap.get_event_loop()
    start = loop:time()
  end)
  after_each(core.thaw)

  --- Seconds since the test began.
  local function elapsed() return math.floor((loop:time() - start) * 1000 + 0.5) / 1000 end

  local function direct(fn, ...) return fn(...) end

  --- Runs `case(run)` twice: with `run` calling a function here, and in a task.
  local function both(case)
    case(direct)
    start = loop:time()
    case(in_task)
  end

  --- `fn(t)` inside a time-out; gives its results.
  local function within(delay, fn)
    local t <close> = neap.timeout(delay)
    return fn(t)
  end

  after_each(function()
    neap.sleep(0) -- no cancellation of the main chunk is left over
  end)

  --- The error of `fn(...)` by `run`, and the time.
  local function failure(run, fn, ...) return catch(run, fn, ...), elapsed() end

  describe("the block", function()
    it("leaves with TimeoutError after the delay", function()
      both(function(run)
        local err, time = failure(run, within, 1.5, function() neap.sleep(60) end)
        assert.is_true(TimeoutError:is(err))
        assert.is_nil(err.message)
        assert.equal(1.5, time)
      end)
    end)

    it("goes on as ever when it is in time", function()
      both(function(run)
        local object
        assert.equal("result", run(within, 1, function(t)
          object = t
          neap.sleep(0.5)
          return "result"
        end))
        assert.is_false(object:expired())
        neap.sleep(2) -- nothing comes later
        assert.is_false(object:expired())
      end)
    end)

    it("lets its own errors out as they are", function()
      both(function(run)
        local value = {}
        assert.equal(value, catch(run, within, 1, function() error(value) end))
        assert.equal(value, catch(run, within, 1, function()
          pcall(neap.sleep, 60) -- the deadline passes
          error(value)
        end))
      end)
    end)

    it("may swallow the cancellation and goes on", function()
      both(function(run)
        local object
        assert.equal("went on", run(function()
          within(1, function(t)
            object = t
            local ok, err = pcall(neap.sleep, 60)
            assert.is_false(ok)
            assert.is_true(CancelledError:is(err))
          end)
          neap.sleep(1) -- not raised again
          local task = neap.current_task()
          assert.equal(0, task and task:cancelling() or 0)
          return "went on"
        end))
        assert.is_true(object:expired())
      end)
    end)

    it("is cancelled again at its next wait when it swallows and stays", function()
      both(function(run)
        local after
        local err = failure(run, within, 1, function()
          pcall(neap.sleep, 60)
          after = catch(neap.sleep, 0)
          error(after, 0)
        end)
        assert.is_true(CancelledError:is(after))
        assert.is_true(TimeoutError:is(err))
      end)
    end)

    it("makes TimeoutError of any CancelledError that leaves it late", function()
      local child
      local err = catch_in_task(within, 1, function()
        child = neap.create_task(neap.sleep, 60)
        child:await() -- the time-out cancels the child
      end)
      assert.is_true(TimeoutError:is(err))
      assert.is_true(child:cancelled())
    end)

    it("lets a child's CancelledError pass in time", function()
      local err = catch_in_task(within, 10, function()
        local child = neap.create_task(neap.sleep, 60)
        child:cancel()
        child:await()
      end)
      assert.is_true(CancelledError:is(err))
    end)

    it("may wait in its <close> handlers, past the deadline", function()
      both(function(run)
        local closed
        local err, time = failure(run, within, 1, function()
          local _ <close> = setmetatable({}, { __close = function(_, e)
            neap.sleep(3)
            closed = e
          end })
          neap.sleep(60)
        end)
        assert.is_true(CancelledError:is(closed))
        assert.is_true(TimeoutError:is(err))
        assert.equal(4, time)
      end)
    end)

    it("works in a generator", function()
      both(function(run)
        local got = {}
        local err = catch(run, function()
          for i in coroutine.wrap(function()
            local _ <close> = neap.timeout(1)
            for i = 1, 10 do
              neap.sleep(0.3)
              coroutine.yield(i)
            end
          end) do got[#got + 1] = i end
        end)
        assert.is_true(TimeoutError:is(err))
        assert.same({ 1, 2, 3 }, got)
      end)
    end)

    it("costs nothing that is left in the loop", function()
      local n = helper.many(100000)
      in_task(function()
        collectgarbage()
        collectgarbage()
        local before = collectgarbage "count"
        for _ = 1, n do local _ <close> = neap.timeout(60) end
        collectgarbage()
        collectgarbage()
        assert.is_true(collectgarbage "count" < before + 50)
      end)
    end)

    it("ends for 10,000 tasks at the same time", function()
      local tasks, n = {}, helper.many(10000)
      for i = 1, n do tasks[i] = neap.create_task(within, 1, function() neap.sleep(60) end) end
      local results = neap.gather(tasks, { return_exceptions = true })
      for i = 1, n do
        if not TimeoutError:is(results[i]) then assert.equal(i, results[i]) end
      end
      assert.equal(1, elapsed())
    end)
  end)

  describe("the delay", function()
    it("may be 0 or less: the next wait ends", function()
      both(function(run)
        for _, delay in ipairs { 0, -1, -math.huge } do
          local err, time = failure(run, within, delay, function() neap.sleep(60) end)
          assert.is_true(TimeoutError:is(err))
          assert.equal(0, time)
        end
      end)
    end)

    it("of 0 does not concern a block that never waits", function()
      both(function(run)
        assert.equal(5, run(within, 0, function() return 5 end))
        run(neap.sleep, 0)
      end)
    end)

    it("may be nil, for none", function()
      both(function(run)
        run(within, nil, function(t)
          assert.is_nil(t:when())
          neap.sleep(1e6)
        end)
        run(function()
          local t <close> = neap.timeout_at(nil)
          assert.is_nil(t:when())
          neap.sleep(1)
        end)
      end)
    end)

    it("may be endless", function()
      both(function(run)
        run(within, math.huge, function() neap.sleep(1e6) end)
        run(within, 1e300, function() neap.sleep(1) end)
      end)
    end)

    it("is refused when it is none", function()
      assert.matches("bad argument #1 to 'neap.timeout' %(seconds expected, got NaN%)",
        catch(neap.timeout, 0 / 0))
      assert.matches("bad argument #1 to 'neap.timeout' %(number expected, got table%)",
        catch(neap.timeout, {}))
      assert.matches("bad argument #1 to 'neap.timeout_at' %(seconds expected, got NaN%)",
        catch(neap.timeout_at, 0 / 0))
      assert.matches("bad argument #1 to 'neap.timeout_at' %(number expected, got boolean%)",
        catch(neap.timeout_at, true))
    end)
  end)

  describe("timeout_at", function()
    it("takes a time of the loop's clock", function()
      both(function(run)
        local when = loop:time() + 2
        local err, time = failure(run, function()
          local t <close> = neap.timeout_at(when)
          assert.equal(when, t:when())
          neap.sleep(60)
        end)
        assert.is_true(TimeoutError:is(err))
        assert.equal(2, time)
      end)
    end)

    it("in the past ends the next wait", function()
      both(function(run)
        for _, when in ipairs { loop:time() - 1, 0, -5 } do
          local err, time = failure(run, function()
            local _ <close> = neap.timeout_at(when)
            neap.sleep(60)
          end)
          assert.is_true(TimeoutError:is(err))
          assert.equal(0, time)
        end
      end)
    end)
  end)

  describe("nested", function()
    it("the inner one first: the outer block goes on", function()
      both(function(run)
        local inner, time
        run(within, 5, function()
          inner = catch(within, 1, function() neap.sleep(60) end)
          time = elapsed()
          neap.sleep(2)
        end)
        assert.is_true(TimeoutError:is(inner))
        assert.equal(1, time)
      end)
    end)

    it("the outer one first: the inner block sees a cancellation", function()
      both(function(run)
        local inner, object
        local err, time = failure(run, within, 1, function()
          inner = catch(within, 5, function(t)
            object = t
            neap.sleep(60)
          end)
          error(inner, 0)
        end)
        assert.is_true(CancelledError:is(inner))
        assert.is_false(object:expired())
        assert.is_true(TimeoutError:is(err))
        assert.equal(1, time)
      end)
    end)

    it("both at the same moment: the outer one's error comes out", function()
      both(function(run)
        local inner, one, two
        local err = catch(run, within, 1, function(t)
          one = t
          inner = catch(within, 1, function(u)
            two = u
            neap.sleep(60)
          end)
          error(inner, 0)
        end)
        assert.is_true(one:expired() and two:expired())
        assert.is_true(CancelledError:is(inner)) -- there is one cancellation more to come
        assert.is_true(TimeoutError:is(err))
      end)
    end)

    it("1,000 deep, each with a little more time", function()
      local depth, caught = 0, 0
      local function nest(n)
        if n == 0 then return neap.sleep(1e6) end
        depth = depth + 1
        local ok, err = pcall(within, n, function() return nest(n - 1) end)
        if not ok and TimeoutError:is(err) then caught = caught + 1 end
        if not ok then error(err, 0) end
      end
      -- TimeoutError leaves all of them: only the innermost was too late
      local err = catch_in_task(function()
        local ok, e = pcall(nest, 50)
        assert.is_false(ok)
        assert.equal(1, elapsed())
        neap.sleep(0)
        error(e, 0)
      end)
      assert.is_true(TimeoutError:is(err))
      assert.same({ 50, 50 }, { depth, caught })
    end)
  end)

  describe("reschedule", function()
    it("gives more time, or less", function()
      both(function(run)
        local err, time = failure(run, within, 1, function(t)
          t:reschedule(loop:time() + 3)
          neap.sleep(60)
        end)
        assert.is_true(TimeoutError:is(err))
        assert.equal(3, time)
        start = loop:time()
        err, time = failure(run, within, 10, function(t)
          t:reschedule(loop:time() + 2)
          assert.equal(loop:time() + 2, t:when())
          neap.sleep(60)
        end)
        assert.is_true(TimeoutError:is(err))
        assert.equal(2, time)
      end)
    end)

    it("to nil takes the deadline away, and sets one where there was none", function()
      both(function(run)
        run(within, 1, function(t)
          t:reschedule(nil)
          assert.is_nil(t:when())
          neap.sleep(100)
        end)
        start = loop:time()
        local err, time = failure(run, within, nil, function(t)
          t:reschedule(loop:time() + 1)
          neap.sleep(100)
        end)
        assert.is_true(TimeoutError:is(err))
        assert.equal(1, time)
      end)
    end)

    it("to the past ends the next wait", function()
      both(function(run)
        local err, time = failure(run, within, 10, function(t)
          t:reschedule(loop:time() - 100)
          assert.is_false(t:expired()) -- it takes its place among what is ready
          neap.sleep(60)
        end)
        assert.is_true(TimeoutError:is(err))
        assert.equal(0, time)
      end)
    end)

    it("takes back a deadline that is due but has not had its turn", function()
      both(function(run)
        run(within, 10, function(t)
          t:reschedule(loop:time() - 1)
          t:reschedule(loop:time() + 5)
          neap.sleep(1)
          assert.is_false(t:expired())
        end)
      end)
    end)

    it("many times, by another task", function()
      local object
      local task = neap.create_task(within, 1, function(t)
        object = t
        neap.sleep(1e6)
      end)
      for _ = 1, helper.many(5000) do
        neap.sleep(0.9)
        object:reschedule(loop:time() + 1)
      end
      local err = catch(task.await, task)
      assert.is_true(TimeoutError:is(err))
    end)

    it("is refused after the deadline and after the block", function()
      local object
      assert.is_true(TimeoutError:is(catch_in_task(within, 1, function(t)
        object = t
        pcall(neap.sleep, 60)
        assert.matches("Cannot change state of expiring Timeout", catch(t.reschedule, t, 5))
        neap.sleep(0)
      end)))
      assert.matches("Cannot change state of expired Timeout", catch(object.reschedule, object, 5))
      within(1, function(t) object = t end)
      assert.matches("Cannot change state of finished Timeout",
        catch(object.reschedule, object, nil))
    end)

    it("refuses what is no time", function()
      within(1, function(t)
        assert.matches("bad argument #1 to 'reschedule' %(seconds expected, got NaN%)",
          catch(function() t:reschedule(0 / 0) end))
        assert.matches("bad argument #1 to 'reschedule' %(number expected, got string%)",
          catch(function() t:reschedule "soon" end))
        assert.matches("Timeout expected, got table", catch(t.reschedule, {}, 1))
      end)
    end)
  end)

  it("tells its state", function()
    local states = {}
    local function note(t) states[#states + 1] = tostring(t):match "%[(%a+)%]" end
    local object = neap.timeout(1)
    note(object)
    assert.matches("^<Timeout %[active%] when=%d+%.%d+>$", tostring(object))
    object:close()
    note(object)
    assert.is_false(object:expired())
    pcall(within, 1, function(t)
      object = t
      pcall(neap.sleep, 60)
      note(t)
      assert.is_true(t:expired())
    end)
    note(object)
    assert.is_true(object:expired())
    assert.same({ "active", "finished", "expiring", "expired" }, states)
    assert.equal("<Timeout [active]>", tostring(within(nil, function(t) return t end))
      :gsub("finished", "active"))
  end)

  it("is closed twice without harm", function()
    both(function(run)
      run(function()
        local t <close> = neap.timeout(1)
        t:close()
        t:close()
        neap.sleep(2)
      end)
    end)
  end)

  describe("together with a result", function()
    it("a turn before the deadline: in time", function()
      both(function(run)
        local future, object = neap.Future(), nil
        assert.equal("in time", run(within, 1, function(t)
          object = t
          loop:call_later(0.5, function()
            future:set_result "in time"
            t:reschedule(0) -- due in the turn of the waiter, behind it
          end)
          return future:await()
        end))
        assert.is_false(object:expired())
      end)
    end)

    for _, first in ipairs { "result", "deadline" } do
      it("in the same turn, " .. first .. " first: too late, as in asyncio", function()
        both(function(run)
          local future, object = neap.Future(), nil
          local function set() future:set_result() end
          if first == "result" then loop:call_later(1, set) end
          local err = catch(run, within, 1, function(t)
            object = t
            if first == "deadline" then
              loop:call_later(1, function()
                if not future:done() then set() end -- the cancellation has reached it
              end)
            end
            return future:await()
          end)
          assert.is_true(TimeoutError:is(err))
          assert.is_true(object:expired())
        end)
      end)
    end

    it("a lock that was handed over with the deadline goes on to the next", function()
      local lock, order = neap.Lock(), {}
      lock:acquire()
      local late = neap.create_task(within, 1, function()
        local _ <close> = lock:acquire()
        order[#order + 1] = "late"
      end)
      local next_one = neap.create_task(function()
        local _ <close> = lock:acquire()
        order[#order + 1] = "next"
      end)
      neap.sleep(0)
      loop:call_later(1, lock.release, lock) -- the same moment, one turn
      pcall(late.await, late)
      next_one:await()
      assert.equal("next", order[#order])
      assert.is_false(lock:locked())
    end)
  end)

  describe("together with a cancellation from outside", function()
    for _, first in ipairs { "cancel", "deadline" } do
      it("in the same turn, " .. first .. " first: the cancellation wins", function()
        local object, count
        local task
        local function cancel() task:cancel "outside" end
        if first == "cancel" then loop:call_later(1, cancel) end
        task = neap.create_task(function()
          local ok, err = pcall(within, 1, function(t)
            object = t
            neap.sleep(60)
          end)
          count = neap.current_task():cancelling()
          assert.is_false(ok)
          error(err, 0)
        end)
        neap.sleep(0)
        if first == "deadline" then loop:call_later(1, cancel) end
        local err = catch(task.await, task)
        assert.is_true(CancelledError:is(err))
        if first == "cancel" then assert.equal("outside", err.message) end
        assert.is_true(object:expired())
        assert.equal(1, count)
        assert.is_true(task:cancelled())
      end)
    end

    it("before the deadline: no TimeoutError", function()
      local object
      local task = neap.create_task(within, 5, function(t)
        object = t
        neap.sleep(60)
      end)
      neap.sleep(1)
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.is_false(object:expired())
    end)

    it("while the block cleans up after the deadline", function()
      local closed
      local task = neap.create_task(within, 1, function()
        local _ <close> = setmetatable({}, { __close = function()
          local err = catch(neap.sleep, 60)
          closed = err
          error(err, 0)
        end })
        neap.sleep(60)
      end)
      neap.sleep(2)
      task:cancel "outside"
      local err = catch(task.await, task)
      assert.is_true(CancelledError:is(closed))
      assert.is_true(CancelledError:is(err))
    end)
  end)

  describe("in the cleanup of a cancelled task", function()
    --- Runs `fn` in a <close> handler of a task that was cancelled; its result.
    local function cleanup(fn)
      local done, result
      local task = neap.create_task(function()
        local _ <close> = setmetatable({}, { __close = function()
          result = fn()
          neap.sleep(0.1)
          done = true
        end })
        neap.sleep(1e6)
      end)
      neap.sleep(0)
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.is_true(done)
      return result
    end

    it("raises TimeoutError, and nothing is raised again after it", function()
      local err = cleanup(function()
        return catch(within, 1, function() neap.sleep(60) end)
      end)
      assert.is_true(TimeoutError:is(err))
    end)

    it("may be swallowed inside the block", function()
      assert.equal(1, cleanup(function()
        within(1, function() pcall(neap.sleep, 60) end)
        neap.sleep(0)
        return neap.current_task():cancelling()
      end))
    end)

    it("does not take back the cancellation that came before the block", function()
      local task = neap.create_task(function()
        pcall(neap.sleep, 60) -- swallowed: to be raised again
        assert.is_true(TimeoutError:is(catch(within, 0, function() neap.sleep(60) end)))
        neap.sleep(1) -- raises it again
        return "never"
      end)
      neap.sleep(0)
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
    end)
  end)

  describe("around a loop that the main chunk drives", function()
    it("ends run_until_complete", function()
      local err, time = failure(direct, within, 1, function()
        loop:run_until_complete(neap.sleep, 60)
      end)
      for _, task in ipairs(neap.all_tasks()) do task:cancel() end
      assert.is_true(TimeoutError:is(err))
      assert.equal(1, time)
    end)

    it("that ends in the same turn: at the next wait", function()
      local future = neap.Future()
      local err, time = failure(direct, within, 5, function(t)
        loop:call_later(1, function()
          future:set_result "there"
          t:reschedule(0)
        end)
        assert.equal("there", loop:run_until_complete(future))
        neap.sleep(60)
      end)
      assert.is_true(TimeoutError:is(err))
      assert.equal(1, time)
    end)

    it("does not reach into a loop of neap.run: the next wait ends", function()
      local err, time = failure(direct, within, 1, function()
        assert.equal("done", neap.run(neap.sleep, 2, "done"))
        neap.sleep(60)
      end)
      assert.is_true(TimeoutError:is(err))
      assert.equal(2, time)
    end)

    it("is dropped when its loop is closed", function()
      local other = neap.new_event_loop()
      neap.set_event_loop(other)
      local t = neap.timeout(1)
      local again = neap.timeout(-1)
      other:close()
      neap.set_event_loop(loop)
      assert.matches("Event loop is closed", catch(t.reschedule, t, 5))
      neap.sleep(5)
      assert.is_false(t:expired())
      t:close()
      again:close()
      assert.is_false(again:expired())
    end)
  end)

  describe("that is never closed", function()
    it("ends with its task", function()
      local object
      in_task(function() object = neap.timeout(1) end)
      assert.equal("<Timeout [finished]>", tostring(object))
      neap.sleep(5)
      assert.is_false(object:expired())
      object:close()
      assert.matches("Cannot change state", catch(object.reschedule, object, 1))
    end)

    it("cancels its task while that goes on", function()
      local err = catch_in_task(function()
        neap.timeout(1)
        collectgarbage()
        neap.sleep(60)
      end)
      assert.is_true(CancelledError:is(err))
      assert.equal(1, elapsed())
    end)

    it("ends with the main chunk #host", function()
      local result = helper.run [[
        local neap = require "neap"
        local t = neap.timeout(3600)
        neap.timeout(0)
        neap.create_task(function()
          neap.sleep(0.001)
          print(t)
        end)
      ]]
      assert.same({ out = "<Timeout [finished]>\n", err = "", code = 0 }, result)
    end)

    it("goes with its task at shutdown #host", function()
      local result = helper.run [[
        local neap = require "neap"
        neap.create_task(function()
          local _ <close> = neap.timeout(3600)
          neap.Event():wait()
        end)
        neap.sleep(0)
        os.exit(0, true)
      ]]
      assert.same({ out = "", err = "", code = 0 }, result)
    end)
  end)

  it("needs a task around it, not a loop callback", function()
    loop:call_soon(function() neap.timeout(1) end)
    loop:call_soon(function() neap.timeout_at(1) end)
    neap.sleep(1)
    local list = reports.take()
    assert.equal(2, #list)
    for _, context in ipairs(list) do
      assert.matches("a time%-out needs a task around it; this is a loop callback",
        context.exception)
    end
  end)

  it("is raised where Lua cannot suspend as anywhere, at top level", function()
    local err = catch(within, 1, function()
      table.sort({ 2, 1 }, function(a, b)
        neap.sleep(60)
        return a < b
      end)
    end)
    assert.is_true(TimeoutError:is(err))
    assert.equal(1, elapsed())
  end)

  it("that passed while Lua code was busy is raised at the next wait", function()
    core.thaw() -- time has to go by itself
    local object
    local err = catch_in_task(within, 0.001, function(t)
      object = t
      local from = loop:time()
      while loop:time() < from + 0.003 do end
      assert.is_false(t:expired()) -- nobody has looked
      neap.sleep(60)
    end)
    assert.is_true(TimeoutError:is(err))
    assert.is_true(object:expired())
  end)

  it("tells the deadline that was asked for, however far", function()
    core.freeze(true)
    local now = loop:time()
    for _, delay in ipairs { -1, 0, 1.5, 1e12, 1e300, math.huge } do
      local t <close> = neap.timeout(delay)
      assert.near(now + delay, t:when(), delay > 1e9 and delay < 1e300 and 1 or 1e-6)
      local at <close> = neap.timeout_at(now + delay)
      assert.equal(now + delay, at:when())
    end
  end)

  it("cannot be rescheduled on a loop that was closed, also when there is another", function()
    local own = neap.new_event_loop()
    neap.set_event_loop(own)
    local t <close> = neap.timeout(nil)
    own:close()
    local other = neap.new_event_loop()
    neap.set_event_loop(other)
    assert.has_error(function() t:reschedule(1) end, "Event loop is closed")
    other:close()
    neap.set_event_loop(loop)
  end)

  it("is let go with a program that leaves none of its blocks", function()
    local result = helper.run [[
      local neap = require "neap"
      for _ = 1, 9 do neap.timeout(60) end
      os.exit(3, true)
    ]]
    assert.equal("", result.err) -- a sanitizer would tell
    assert.equal(3, result.code)
  end)
end)
