--- timeout: what comes at the same time, from outside, from other loops, or never.

local neap = require "neap"
local helper = require "spec.helper"

local catch, catch_in_task, in_task = helper.catch, helper.catch_in_task, helper.in_task
local elapsed, both, direct, within = helper.elapsed, helper.both, helper.direct, helper.within
local failure = helper.failure
local TimeoutError, CancelledError = neap.TimeoutError, neap.CancelledError

local loop
helper.virtual_time(before_each, after_each)
before_each(function() loop = neap.get_event_loop() end)

describe("timeout", function()
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
end)
