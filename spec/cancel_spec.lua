--- Cancellation: where it is raised, the counters, chains.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle, closing = helper.catch, helper.settle, helper.closing
local is_cancelled = helper.is_cancelled

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
