--- Cancellation: where it is raised, the counters, what a swallowed one does, <close>
--- handlers, chains.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

local function is_cancelled(err) return neap.CancelledError:is(err) end

--- A value whose <close> handler calls `fn`.
local function closing(fn) return setmetatable({}, { __close = fn }) end

describe("cancelling", function()
  describe("a task that waits", function()
    local waits = {
      sleep = function() neap.sleep(100) end,
      ["sleep(0)"] = function() while true do neap.sleep(0) end end,
      future = function() neap.Future():await() end,
      task = function() neap.create_task(neap.sleep, 100):await() end,
      lock = function()
        local lock = neap.Lock()
        lock:acquire()
        lock:acquire()
      end,
      event = function() neap.Event():wait() end,
      semaphore = function() neap.Semaphore(0):acquire() end,
      condition = function()
        local condition <close> = neap.Condition():acquire()
        condition:wait()
      end,
      gather = function() neap.gather(neap.Future(), neap.sleep) end,
    }
    for name, wait in pairs(waits) do
      it("in a " .. name .. " raises CancelledError there", function()
        local err
        local task = neap.create_task(function()
          if name == "gather" then
            local ok
            ok, err = pcall(neap.gather, neap.Future(), neap.Future())
            assert(not ok)
          else
            err = catch(wait)
          end
          error(err)
        end)
        settle()
        assert.is_true(task:cancel "why")
        assert.is_false(task:done())
        settle(12)
        assert.is_true(task:done())
        assert.is_true(task:cancelled())
        assert.is_true(is_cancelled(err))
        assert.equal("cancelled", task:state())
        assert.equal(1, task:cancelling())
      end)
    end

    it("passes the message on to who awaits it", function()
      local task = neap.create_task(neap.sleep, 100)
      settle()
      task:cancel "why"
      for _, f in ipairs { task.await, task.result, task.exception } do
        local err = catch(f, task)
        assert.is_true(is_cancelled(err))
        assert.equal("why", err.message)
        assert.equal("CancelledError: why", tostring(err))
      end
    end)

    it("has no message when none was given", function()
      local task = neap.create_task(neap.sleep, 100)
      settle()
      task:cancel()
      local err = catch(task.await, task)
      assert.is_nil(err.message)
      assert.equal("CancelledError", tostring(err))
    end)

    it("takes any value as the message", function()
      local value = {}
      local task = neap.create_task(neap.sleep, 100)
      settle()
      task:cancel(value)
      assert.equal(value, catch(task.await, task).message)
    end)

    it("is no error that would be reported", function()
      local task = neap.create_task(neap.sleep, 100)
      settle()
      task:cancel()
      task = nil -- luacheck: ignore
      settle()
      collectgarbage()
      collectgarbage() -- the guard looks
    end)
  end)

  describe("a task that is done", function()
    it("does nothing", function()
      local task = neap.create_task(function() return 1 end)
      settle()
      assert.is_false(task:cancel())
      assert.equal(0, task:cancelling())
      assert.equal(1, task:result())
    end)
  end)

  describe("a task before its start", function()
    it("keeps it from starting", function()
      local ran = false
      local task = neap.create_task(function() ran = true end)
      assert.is_true(task:cancel "early")
      assert.is_false(task:done())
      local err = catch(task.await, task)
      assert.is_true(is_cancelled(err))
      assert.equal("early", err.message)
      assert.is_true(task:cancelled())
      assert.is_false(ran)
    end)

    it("does so for coroutines, whose status is dead then", function()
      local co = coroutine.create(function() error "no" end)
      local task = neap.create_task(co)
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
      assert.is_false((coroutine.resume(co)))
    end)

    it("can be taken back by uncancel", function()
      local task = neap.create_task(function() return "ran" end)
      task:cancel()
      assert.equal(0, task:uncancel())
      settle()
      -- CPython 3.13: uncancel() down to 0 takes a pending cancellation back
      assert.equal("ran", task:result())
    end)
  end)

  describe("a task that is ready", function()
    it("raises instead of giving the result", function()
      local future = neap.Future()
      local ok, err
      local task = neap.create_task(function()
        ok, err = pcall(future.await, future)
        error(err)
      end)
      settle()
      future:set_result "came first"
      task:cancel()
      settle()
      assert.is_false(ok)
      assert.is_true(is_cancelled(err))
      assert.is_true(task:cancelled())
      assert.equal("came first", future:result())
    end)

    it("raises at a sleep that is over", function()
      local task = neap.create_task(neap.sleep, 0)
      neap.sleep(0)
      assert.is_false(task:done())
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
    end)
  end)

  describe("oneself", function()
    it("raises at the next wait", function()
      local went_on = false
      local task = neap.create_task(function()
        neap.current_task():cancel "self"
        went_on = true
        neap.sleep(0)
        error "not reached"
      end)
      local err = catch(task.await, task)
      assert.is_true(is_cancelled(err))
      assert.equal("self", err.message)
      assert.is_true(went_on)
    end)

    local waits = {
      sleep = function() neap.sleep(3600) end,
      future = function() neap.Future():await() end,
      task = function() neap.create_task(neap.sleep, 3600):await() end,
      event = function() neap.Event():wait() end,
      gather = function() neap.gather(neap.Future(), neap.Future()) end,
    }
    for name, wait in pairs(waits) do
      it("ends a wait in a " .. name .. " as soon as it begins", function()
        local task = neap.create_task(function()
          neap.current_task():cancel "self"
          wait()
        end)
        settle()
        assert.is_true(task:cancelled())
        assert.equal("self", catch(task.result, task).message)
      end)
    end

    it("by way of a task that awaits it ends the wait as well", function()
      local outer
      local inner = neap.create_task(function()
        neap.sleep(0)
        outer:cancel "round"
        neap.sleep(3600)
      end)
      outer = neap.create_task(function() inner:await() end)
      settle()
      assert.is_true(inner:cancelled())
      assert.is_true(outer:cancelled())
    end)

    it("without a further wait cancels the task at its end", function()
      local task = neap.create_task(function()
        neap.current_task():cancel()
        return "done"
      end)
      settle()
      assert.is_true(task:done())
      assert.is_true(task:cancelled())
    end)
  end)

  describe("counts", function()
    it("requests, once raised each", function()
      local seen, add = helper.log()
      local task = neap.create_task(function()
        local self = neap.current_task()
        for i = 1, 3 do
          local err = catch(neap.sleep, 100)
          add(("%d %s %d"):format(i, err.message, self:cancelling()))
          self:uncancel()
          add(self:cancelling())
        end
        return "end"
      end)
      for i = 1, 3 do
        settle()
        assert.is_true(task:cancel("m" .. i))
      end
      assert.equal("end", task:await())
      assert.same({ "1 m1 1", 0, "2 m2 1", 0, "3 m3 1", 0 }, seen)
      assert.equal(0, task:cancelling())
    end)

    it("two before the task runs as two, raised once", function()
      local raised = 0
      local task = neap.create_task(function()
        local self = neap.current_task()
        local err = catch(neap.sleep, 100)
        raised = raised + 1
        assert.equal("first", err.message)
        assert.equal(2, self:cancelling())
        assert.equal(1, self:uncancel())
        assert.equal(0, self:uncancel())
        assert.equal(0, self:uncancel())
        return neap.sleep(0, "on")
      end)
      settle()
      assert.is_true(task:cancel "first")
      assert.is_true(task:cancel "second")
      assert.equal(2, task:cancelling())
      assert.equal("on", task:await())
      assert.equal(1, raised)
    end)

    it("and uncancel to 0 stops one that was not raised yet", function()
      local task = neap.create_task(function()
        neap.sleep(0)
        local self = neap.current_task()
        self:cancel()
        assert.equal(1, self:cancelling())
        assert.equal(0, self:uncancel())
        return neap.sleep(0, "on")
      end)
      assert.equal("on", task:await())
    end)
  end)

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

  describe("a task that awaits another", function()
    it("cancels that one, and waits for its end", function()
      local order, add = helper.log()
      local child = neap.create_task(function()
        local _ <close> = closing(function()
          neap.sleep(0.001)
          add "child"
        end)
        neap.sleep(100)
      end)
      local task = neap.create_task(function()
        local _ <close> = closing(function() add "parent" end)
        child:await()
      end)
      settle()
      assert.is_true(task:cancel "why")
      assert.equal(1, child:cancelling())
      local err = catch(task.await, task)
      assert.equal("why", err.message)
      assert.is_true(child:cancelled())
      assert.is_true(task:cancelled())
      assert.same({ "child", "parent" }, order)
    end)

    it("gives the result of a child that went on", function()
      local child = neap.create_task(function()
        pcall(neap.sleep, 100)
        neap.current_task():uncancel()
        return neap.sleep(0, "kept")
      end)
      local task = neap.create_task(function() return child:await() end)
      settle()
      task:cancel()
      assert.equal("kept", task:await())
      assert.equal(1, task:cancelling())
    end)

    it("raises the error that the child made of it", function()
      local child = neap.create_task(function()
        pcall(neap.sleep, 100)
        error("instead", 0)
      end)
      local task = neap.create_task(function() return child:await() end)
      settle()
      task:cancel()
      assert.equal("instead", catch(task.await, task))
      assert.equal("instead", child:exception())
    end)

    it("reaches a child that has not started", function()
      local ran, child = false, nil
      local task = neap.create_task(function()
        child = neap.create_task(function() ran = true end)
        neap.get_event_loop():call_soon(function() end)
        child:await()
      end)
      neap.sleep(0)
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
      assert.is_true(child:cancelled() or ran)
    end)

    it("goes down a chain of ten, raising from the inside out", function()
      local order, add = helper.log()
      local function level(n)
        local _ <close> = closing(function() add(n) end)
        if n == 10 then return neap.sleep(100) end
        neap.create_task(level, n + 1):await()
      end
      local task = neap.create_task(level, 1)
      settle(12)
      task:cancel()
      settle(12)
      assert.is_true(task:cancelled())
      assert.same({ 10, 9, 8, 7, 6, 5, 4, 3, 2, 1 }, order)
    end)

    it("goes down a chain of 50,000", function()
      local n, ended = helper.many(50000), 0
      local event = neap.Event()
      local last = neap.create_task(function() event:wait() end)
      local first = last
      for _ = 1, n do
        local inner = last
        last = neap.create_task(function()
          local _ <close> = closing(function() ended = ended + 1 end)
          inner:await()
        end)
      end
      settle()
      last:cancel "deep"
      assert.equal("deep", catch(last.await, last).message)
      assert.is_true(first:cancelled())
      assert.equal(n, ended)
      assert.same({}, neap.all_tasks())
    end)

    it("in a ring ends the ring", function()
      local a, b
      a = neap.create_task(function() b:await() end)
      b = neap.create_task(function() a:await() end)
      settle()
      a:cancel()
      settle()
      assert.is_true(a:cancelled())
      assert.is_true(b:cancelled())
    end)

    it("cancels a child only once per request", function()
      local messages, add = helper.log()
      local child = neap.create_task(function()
        while true do
          local err = catch(neap.sleep, 100)
          add(err.message)
          neap.current_task():uncancel()
          if err.message == "third" then error(err) end
        end
      end)
      local task = neap.create_task(function() child:await() end)
      for _, message in ipairs { "first", "second", "third" } do
        settle()
        task:cancel(message)
      end
      settle()
      assert.same({ "first", "second", "third" }, messages)
      assert.is_true(task:cancelled())
      assert.equal(3, task:cancelling())
    end)

    it("while the child is done already raises all the same", function()
      local child = neap.create_task(neap.sleep, 0, "result")
      local task = neap.create_task(function() return child:await() end)
      local cancelled
      child:add_done_callback(function() cancelled = task:cancel() end)
      settle()
      assert.equal("result", child:result())
      assert.is_true(task:done())
      -- in the same turn the child's end may have reached the task first
      assert.is_true(task:cancelled() or cancelled == false)
    end)
  end)

  describe("in a plain coroutine", function()
    it("raises at the wait in it, and comes out of coroutine.wrap", function()
      local order, add = helper.log()
      local task = neap.create_task(function()
        local generator = coroutine.wrap(function()
          coroutine.yield()
          local err = catch(neap.sleep, 100)
          add(err.message)
          error(err, 0)
        end)
        generator()
        local err = catch(generator)
        add(is_cancelled(err))
        error(err, 0)
      end)
      settle()
      task:cancel "why"
      settle()
      assert.same({ "why", true }, order)
      assert.is_true(task:cancelled())
    end)

    it("nested five deep", function()
      local task = neap.create_task(function()
        local function down(n)
          if n == 0 then return neap.sleep(100) end
          return coroutine.wrap(down)(n - 1)
        end
        down(5)
      end)
      settle()
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
    end)

    it("that catches it may go on yielding", function()
      local order, add = helper.log()
      local task = neap.create_task(function()
        local generator = coroutine.wrap(function()
          local ok = pcall(neap.sleep, 100)
          coroutine.yield(ok)
          return "end"
        end)
        add(generator())
        add(generator())
        neap.sleep(0)
        add "not reached"
      end)
      settle()
      task:cancel()
      settle()
      assert.same({ false, "end" }, order)
      assert.is_true(task:cancelled())
    end)
  end)

  it("many at any moment loses nothing", function()
    -- tasks that wait in all kinds of ways, cancelled after 0 to 7 turns
    local lock, semaphore, event = neap.Lock(), neap.Semaphore(2), neap.Event()
    local n = 0
    local function work(i)
      local _ <close> = lock:acquire()
      neap.sleep(0)
      local _s <close> = semaphore:acquire()
      neap.gather(function() neap.sleep(0) end, function()
        if i % 5 == 0 then neap.sleep(0) end
      end)
      n = n + 1
    end
    local tasks = {}
    for i = 1, 200 do tasks[i] = neap.create_task(work, i) end
    local cancelled = 0
    for i = 1, 200 do
      if i % 3 == 0 then
        for _ = 1, i % 8 do neap.sleep(0) end
        if tasks[i]:cancel() then cancelled = cancelled + 1 end
      end
    end
    neap.gather(tasks, { return_exceptions = true })
    local ended = 0
    for i = 1, 200 do
      if tasks[i]:cancelled() then ended = ended + 1 end
    end
    assert.equal(cancelled, ended)
    assert.equal(200 - cancelled, n)
    assert.is_false(lock:locked())
    assert.is_true(semaphore:try_acquire() and semaphore:try_acquire())
    assert.is_false(event:is_set())
  end)

  it("all tasks, as a program does at its end", function()
    local ended = 0
    for _ = 1, 50 do
      neap.create_task(function()
        local _ <close> = closing(function()
          neap.sleep(0)
          ended = ended + 1
        end)
        neap.sleep(100)
      end)
    end
    settle()
    for _, task in ipairs(neap.all_tasks()) do task:cancel() end
    settle()
    assert.equal(50, ended)
    assert.same({}, neap.all_tasks())
  end)
end)
