--- shield: cancellation stays outside.

local neap = require "neap"
local helper = require "spec.helper"

local catch, catch_in_task, in_task = helper.catch, helper.catch_in_task, helper.in_task
local elapsed, both, reports = helper.elapsed, helper.both, helper.reports
local TimeoutError, CancelledError = neap.TimeoutError, neap.CancelledError

local loop
helper.virtual_time(before_each, after_each)
before_each(function() loop = neap.get_event_loop() end)

local function give(...) return ... end

describe("shield", function()
  it("gives the results, or raises the very error", function()
    both(function(run)
      local value, future = {}, neap.Future()
      loop:call_later(1, future.set_result, future, "future")
      assert.same({ n = 2, nil, 2 }, table.pack(run(neap.shield, give, nil, 2)))
      assert.equal("future", run(neap.shield, future))
      assert.equal("again", run(neap.shield, neap.create_task(neap.sleep, 1, "again")))
      assert.equal("co", run(neap.shield, coroutine.create(neap.sleep), 1, "co"))
      assert.equal(value, catch(run, neap.shield, error, value))
    end)
  end)

  it("gives at once what is done", function()
    local done = neap.create_task(give, 1)
    done:await()
    in_task(function()
      local ran
      local other = neap.create_task(function() ran = true end)
      assert.equal(1, neap.shield(done))
      assert.is_nil(ran)
      other:await()
    end)
  end)

  describe("when the caller is cancelled", function()
    it("lets it go at once; what is shielded goes on", function()
      local kinds = {
        function() return neap.create_task(neap.sleep, 2, "kept") end,
        function()
          local future = neap.Future()
          loop:call_later(2, future.set_result, future, "kept")
          return future
        end,
      }
      for _, make in ipairs(kinds) do
        local inner = make()
        local task = neap.create_task(neap.shield, inner)
        neap.sleep(1)
        task:cancel "outside"
        local err = catch(task.await, task)
        assert.equal("outside", err.message)
        assert.is_true(task:cancelled())
        assert.is_false(inner:done())
        assert.equal("kept", inner:await())
      end
    end)

    it("a function goes on to its end", function()
      local finished
      local task = neap.create_task(neap.shield, function()
        neap.sleep(2)
        finished = elapsed()
      end)
      neap.sleep(1)
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.equal(1, elapsed())
      neap.sleep(2)
      assert.equal(2, finished)
    end)

    it("by a time-out", function()
      both(function(run)
        local inner = neap.create_task(neap.sleep, 2, "kept")
        local err = catch(run, function()
          local _ <close> = neap.timeout(1)
          neap.shield(inner)
        end)
        assert.is_true(TimeoutError:is(err))
        assert.equal("kept", inner:await())
      end)
    end)

    it("and it fails later: reported, not lost", function()
      local task = neap.create_task(neap.shield, function()
        neap.sleep(2)
        error("too late to be heard", 0)
      end)
      neap.sleep(1)
      task:cancel()
      pcall(task.await, task)
      neap.sleep(2)
      collectgarbage()
      collectgarbage()
      neap.sleep(0)
      local list = reports.take()
      assert.equal(1, #list)
      assert.equal("Task exception was never retrieved", list[1].message)
      assert.equal("too late to be heard", list[1].exception)
    end)

    it("when it was woken already", function()
      local future = neap.Future()
      local task = neap.create_task(neap.shield, future)
      neap.sleep(0)
      future:set_result "kept"
      task:cancel()
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.equal("kept", future:result())
    end)

    it("by itself, before", function()
      local finished
      local task = neap.create_task(function()
        neap.current_task():cancel()
        neap.shield(function()
          neap.sleep(1)
          finished = true
        end)
      end)
      assert.is_true(CancelledError:is(catch(task.await, task)))
      assert.is_nil(finished)
      neap.sleep(2)
      assert.is_true(finished)
    end)
  end)

  it("raises the CancelledError of what is cancelled inside; no cancellation of its own", function()
    both(function(run)
      local inner = neap.create_task(neap.sleep, 60)
      loop:call_later(1, inner.cancel, inner, "inner")
      run(function()
        local err = catch(neap.shield, inner)
        assert.equal("inner", err.message)
        neap.sleep(1)
      end)
    end)
  end)

  it("is exempt after a swallowed cancellation; the next wait raises it again", function()
    local log = {}
    local future = neap.Future()
    future:set_result "done before"
    local task = neap.create_task(function()
      pcall(neap.sleep, 60)
      log[1] = neap.shield(function()
        neap.sleep(1)
        return "finished"
      end)
      log[2] = neap.shield(future)
      neap.sleep(1)
      log[3] = "never"
    end)
    neap.sleep(0)
    task:cancel()
    assert.is_true(CancelledError:is(catch(task.await, task)))
    assert.same({ "finished", "done before" }, log)
  end)

  it("does not make what is inside exempt", function()
    local task = neap.create_task(function()
      neap.shield(function()
        local me = neap.current_task()
        loop:call_soon(me.cancel, me)
        pcall(neap.sleep, 60)
        neap.sleep(0)
      end)
    end)
    assert.is_true(CancelledError:is(catch(task.await, task)))
  end)

  it("50,000 deep: each lets go for itself", function()
    local n, ended = helper.many(50000), 0
    local function nest(depth)
      if depth < n then
        neap.shield(nest, depth + 1)
      else
        neap.sleep(5)
      end
      ended = ended + 1
    end
    local task = neap.create_task(nest, 1)
    neap.sleep(1)
    task:cancel()
    assert.is_true(CancelledError:is(catch(task.await, task)))
    assert.equal(0, ended)
    neap.sleep(5)
    assert.equal(n - 1, ended)
  end)

  it("refuses what it cannot wait for, where it cannot wait", function()
    assert.matches("bad argument #1 to '.-shield' %(awaitable expected .* got nil%)",
      catch(function() neap.shield(nil) end))
    assert.matches("bad argument #1 to '.-shield' %(value expected%)",
      catch(function() neap.shield() end))
    local ran
    assert.matches("cannot wait in 'neap.shield' here: .*'table.sort'",
      catch_in_task(table.sort, { 2, 1 }, function(a, b)
        neap.shield(function() ran = true end)
        return a < b
      end))
    loop:call_soon(neap.shield, function() ran = true end)
    neap.sleep(0)
    neap.sleep(0)
    assert.is_nil(ran)
    assert.matches("cannot wait in 'neap.shield' inside a loop callback",
      reports.take()[1].exception)
    local task
    task = neap.create_task(function() return neap.shield(task) end)
    assert.matches("a task cannot await itself", catch(task.await, task))
  end)
end)
