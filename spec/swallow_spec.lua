--- Cancellation: what a swallowed one does, and what waits in <close> handlers.

local neap = require "neap"
local helper = require "spec.helper"

local catch, in_task, settle, closing = helper.catch, helper.in_task, helper.settle, helper.closing
local is_cancelled = helper.is_cancelled

describe("cancelling", function()
  describe("and swallowing it", function()
    --- A task that is cancelled in its first wait and swallows that by `how`.
    local function swallower(how, after)
      local task = neap.create_task(function()
        how(function() neap.sleep(100) end)
        return after()
      end)
      settle()
      task:cancel "why"
      settle()
      return task
    end

    local ways = {
      pcall = function(f) assert.is_false((pcall(f))) end,
      xpcall = function(f)
        local ok, text = xpcall(f, function() return "handled" end)
        assert.is_false(ok)
        assert.equal("handled", text)
      end,
      ["coroutine.resume"] = function(f)
        assert.is_false((coroutine.resume(coroutine.create(f))))
      end,
      ["pcall around coroutine.wrap"] = function(f)
        assert.is_false((pcall(coroutine.wrap(f))))
      end,
      ["pcall, nested"] = function(f)
        assert.is_false((pcall(function()
          local ok, err = pcall(f)
          assert(not ok)
          error(err, 0)
        end)))
      end,
      ["pcall, as another error"] = function(f)
        local ok, err = pcall(function()
          local _ <close> = closing(function() error("other", 0) end)
          f()
        end)
        assert.is_false(ok)
        assert.equal("other", err)
      end,
    }
    local lock, event, semaphore, done = neap.Lock(), neap.Event(), neap.Semaphore(1)
    event:set()
    local nexts = {
      sleep = function() neap.sleep(0.001) end,
      ["sleep(0)"] = function() neap.sleep(0) end,
      ["finished task"] = function() done:await() end,
      ["free lock"] = function()
        lock:acquire()
        lock:release()
      end,
      ["set event"] = function() event:wait() end,
      ["free semaphore"] = function()
        semaphore:acquire()
        semaphore:release()
      end,
      gather = function() neap.gather(function() end) end,
      ["gather of nothing"] = function() neap.gather() end,
      ["gather of what is done"] = function() neap.gather(done) end,
    }
    before_each(function()
      done = neap.create_task(function() end)
      done:await()
    end)

    for way, how in pairs(ways) do
      it("by " .. way .. " has it raised again by the next wait", function()
        for name, after in pairs(nexts) do
          local task = swallower(how, after)
          assert.is_true(task:cancelled(), name)
          assert.equal("why", catch(task.result, task).message)
          assert.is_false(lock:locked())
        end
      end)
    end

    for name, after in pairs(nexts) do
      it("and saying uncancel() goes on in a " .. name, function()
        local task = swallower(ways.pcall, function()
          assert.equal(0, neap.current_task():uncancel())
          after()
          after()
          return "on"
        end)
        neap.sleep(0.003)
        assert.equal("on", task:await())
      end)
    end

    it("and not waiting again ends well", function()
      local task = swallower(ways.pcall, function() return "fine" end)
      assert.equal("fine", task:result())
      assert.is_false(task:cancelled())
    end)

    it("again and again has it raised again and again", function()
      local n = 0
      local task = neap.create_task(function()
        while n < 5 do
          local ok, err = pcall(neap.sleep, 100)
          assert(not ok and is_cancelled(err))
          n = n + 1
        end
        neap.sleep(0)
      end)
      settle()
      task:cancel()
      settle(20)
      assert.equal(5, n)
      assert.is_true(task:cancelled())
    end)

    it("in a loop does not hold the event loop", function()
      local stop, turns = false, 0
      local task = neap.create_task(function()
        while not stop do pcall(neap.sleep, 100) end
      end)
      settle()
      task:cancel()
      for _ = 1, 10 do
        neap.sleep(0)
        turns = turns + 1
      end
      stop = true
      settle()
      assert.equal(10, turns)
      assert.is_true(task:done())
    end)

    it("of two, uncancelled once, has it raised again", function()
      local task = neap.create_task(function()
        pcall(neap.sleep, 100)
        assert.equal(1, neap.current_task():uncancel())
        neap.sleep(0)
        error "not reached"
      end)
      settle()
      task:cancel()
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
    end)

    it("does not count for the cancellation of an awaited task", function()
      local child = neap.create_task(neap.sleep, 100)
      local task = neap.create_task(function()
        local err = catch(child.await, child)
        assert(is_cancelled(err))
        return neap.sleep(0, "on")
      end)
      settle()
      child:cancel()
      assert.equal("on", task:await())
      assert.equal(0, task:cancelling())
    end)

    it("does not count for a CancelledError that was just made", function()
      assert.equal("on", in_task(function()
        assert(is_cancelled(catch(error, neap.CancelledError "mine")))
        return neap.sleep(0, "on")
      end))
    end)

    it("counts where the cancellation came through an awaited task", function()
      local task = neap.create_task(function()
        local child = neap.create_task(neap.sleep, 100)
        pcall(child.await, child)
        neap.sleep(0)
        error "not reached"
      end)
      settle()
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
    end)

    it("before the wait, of other errors, changes nothing", function()
      local task = neap.create_task(function()
        pcall(error, "x")
        local ok = pcall(neap.sleep, 100)
        assert(not ok)
        neap.current_task():uncancel()
        pcall(error, "x")
        return neap.sleep(0, "on")
      end)
      settle()
      task:cancel()
      assert.equal("on", task:await())
    end)
  end)

  describe("runs <close> handlers", function()
    it("that may wait, each to its end, inside out", function()
      local order, add = helper.log()
      local task = neap.create_task(function()
        local _a <close> = closing(function()
          add "a begins"
          neap.sleep(0.001)
          add "a ends"
        end)
        local _b <close> = closing(function()
          add "b begins"
          neap.sleep(0)
          neap.create_task(neap.sleep, 0):await()
          neap.gather(neap.create_task(neap.sleep, 0))
          add "b ends"
        end)
        neap.sleep(100)
      end)
      settle()
      task:cancel "why"
      local err = catch(task.await, task)
      assert.equal("why", err.message)
      assert.same({ "b begins", "b ends", "a begins", "a ends" }, order)
      assert.is_true(task:cancelled())
    end)

    it("with the CancelledError", function()
      local got
      local task = neap.create_task(function()
        local _ <close> = closing(function(_, err)
          neap.sleep(0)
          got = err
        end)
        neap.sleep(100)
      end)
      settle()
      task:cancel "why"
      local err = catch(task.await, task)
      assert.equal("why", got.message)
      assert.is_true(is_cancelled(err))
    end)

    it("that may be cancelled once more", function()
      local order, add = helper.log()
      local task = neap.create_task(function()
        local _a <close> = closing(function()
          neap.sleep(0)
          add "a"
        end)
        local _b <close> = closing(function()
          local _ <close> = closing(function(_, err) add(err.message) end)
          neap.sleep(100)
        end)
        neap.sleep(100)
      end)
      settle()
      task:cancel "first"
      settle()
      task:cancel "second"
      assert.equal("second", catch(task.await, task).message)
      assert.same({ "second", "a" }, order)
      assert.equal(2, task:cancelling())
    end)

    it("while an error unwinds, and they may wait", function()
      local order, add = helper.log()
      local value = {}
      local task = neap.create_task(function()
        local _ <close> = closing(function(_, err)
          assert.equal(value, err)
          neap.sleep(0.001)
          add "closed"
        end)
        neap.sleep(0)
        error(value)
      end)
      assert.equal(value, catch(task.await, task))
      assert.same({ "closed" }, order)
    end)

    it("while an error unwinds inside pcall and xpcall", function()
      assert.same({ false, "x", "closed" }, { in_task(function()
        local closed
        local function body()
          local _ <close> = closing(function() closed = neap.sleep(0, "closed") end)
          error("x", 0)
        end
        local ok = xpcall(body, function(err) return err end)
        assert.is_false(ok)
        assert.equal("closed", closed)
        closed = nil
        local ok2, err = pcall(body)
        return ok2, err, closed
      end) })
    end)

    it("that release locks which others wait for", function()
      local lock, order, add = neap.Lock(), helper.log()
      local holder = neap.create_task(function()
        local _ <close> = lock:acquire()
        neap.sleep(100)
      end)
      settle()
      local other = neap.create_task(function()
        local _ <close> = lock:acquire()
        add "has it"
      end)
      settle()
      holder:cancel()
      other:await()
      assert.same({ "has it" }, order)
      assert.is_false(lock:locked())
    end)

    it("of a coroutine, that wait in it", function()
      local order, add = helper.log()
      local task = neap.create_task(function()
        local generator = coroutine.wrap(function()
          local ok, err = pcall(function()
            local _ <close> = closing(function()
              neap.sleep(0)
              add "closed"
            end)
            coroutine.yield(1)
            neap.sleep(100)
          end)
          add(ok)
          error(err, 0)
        end)
        add(generator())
        generator()
      end)
      settle()
      task:cancel()
      settle(12)
      assert.is_true(task:cancelled())
      assert.same({ 1, "closed", false }, order)
    end)
  end)
end)
