--- timeout and timeout_at: a block that has only so much time.

local neap = require "neap"
local core = require "neap.core.test"
local helper = require "spec.helper"

local catch, catch_in_task, in_task = helper.catch, helper.catch_in_task, helper.in_task
local elapsed, restart, both, within = helper.elapsed, helper.restart, helper.both, helper.within
local failure, reports = helper.failure, helper.reports
local TimeoutError, CancelledError = neap.TimeoutError, neap.CancelledError

local loop
helper.virtual_time(before_each, after_each)
before_each(function() loop = neap.get_event_loop() end)

describe("timeout", function()
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
        restart()
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
        restart()
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
