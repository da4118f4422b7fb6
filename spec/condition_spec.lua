--- Condition: wait for a notification while letting go of a lock.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

describe("a condition", function()
  --- A task that waits once and notes its name, with the lock held.
  local function waiter(condition, add, name)
    return neap.create_task(function()
      local _ <close> = condition:acquire()
      local result = condition:wait()
      assert(condition:locked())
      assert(result == true)
      add(name)
    end)
  end

  local function notify(condition, n)
    local _ <close> = condition:acquire()
    condition:notify(n)
  end

  it("has a lock of its own, or the one given", function()
    local lock = neap.Lock()
    local condition = neap.Condition(lock)
    assert.equal(condition, condition:acquire())
    assert.is_true(lock:locked())
    assert.is_true(condition:locked())
    assert.equal("<Condition locked>", tostring(condition))
    assert.is_false(lock:try_acquire())
    assert.is_false(condition:try_acquire())
    condition:release()
    assert.is_false(lock:locked())
    assert.equal("<Condition unlocked>", tostring(condition))
    assert.is_true(condition:try_acquire())
    lock:release()
    local own = neap.Condition()
    do
      local _ <close> = own:acquire()
      assert.is_true(own:locked())
    end
    assert.is_false(own:locked())
    assert.has_error(function() neap.Condition(5) end)
    assert.has_error(function() neap.Condition(neap.Semaphore(1)) end)
  end)

  it("wants its lock held for wait and notify", function()
    local condition = neap.Condition()
    assert.matches("cannot wait on un%-acquired lock", catch(condition.wait, condition))
    assert.matches("cannot notify on un%-acquired lock", catch(condition.notify, condition))
    assert.matches("cannot notify on un%-acquired lock",
      catch(condition.notify_all, condition))
    assert.matches("cannot wait on un%-acquired lock", helper.catch_in_task(function()
      condition:wait_for(function() return false end)
    end))
  end)

  it("lets go of the lock while it waits", function()
    local condition, order, add = neap.Condition(), helper.log()
    local task = waiter(condition, add, "woken")
    settle()
    assert.is_false(condition:locked())
    notify(condition)
    task:await()
    assert.same({ "woken" }, order)
    assert.is_false(condition:locked())
  end)

  it("wakes as many as notified, in the order of arrival #ordered", function()
    local condition, order, add = neap.Condition(), helper.log()
    for i = 1, 6 do waiter(condition, add, i) end
    settle()
    notify(condition)
    settle()
    assert.same({ 1 }, order)
    notify(condition, 2)
    settle()
    assert.same({ 1, 2, 3 }, order)
    notify(condition, 0)
    settle()
    assert.same({ 1, 2, 3 }, order)
    do
      local _ <close> = condition:acquire()
      condition:notify_all()
    end
    settle()
    assert.same({ 1, 2, 3, 4, 5, 6 }, order)
    notify(condition, 100)
  end)

  it("does not keep notifications for later", function()
    local condition, order, add = neap.Condition(), helper.log()
    notify(condition, 5)
    local task = waiter(condition, add, "a")
    settle()
    assert.is_false(task:done())
    notify(condition)
    settle()
    assert.same({ "a" }, order)
  end)

  it("gives the lock back only when the notifier released it", function()
    local condition, order, add = neap.Condition(), helper.log()
    waiter(condition, add, "woken")
    settle()
    in_task(function()
      local _ <close> = condition:acquire()
      condition:notify()
      settle()
      add "notifier"
    end)
    settle()
    assert.same({ "notifier", "woken" }, order)
  end)

  it("lets the woken take the lock one at a time", function()
    local condition, inside, most = neap.Condition(), 0, 0
    local tasks = {}
    for i = 1, 5 do
      tasks[i] = neap.create_task(function()
        local _ <close> = condition:acquire()
        condition:wait()
        inside = inside + 1
        most = math.max(most, inside)
        neap.sleep(0)
        inside = inside - 1
      end)
    end
    settle()
    notify(condition, 5)
    neap.gather(tasks)
    assert.equal(1, most)
  end)

  describe("wait_for", function()
    it("waits until the predicate holds, and gives its value", function()
      local condition, value, asked = neap.Condition(), nil, 0
      local task = neap.create_task(function()
        local _ <close> = condition:acquire()
        return condition:wait_for(function()
          assert(condition:locked())
          asked = asked + 1
          return value
        end)
      end)
      settle()
      assert.equal(1, asked)
      notify(condition)
      settle()
      assert.equal(2, asked)
      assert.is_false(task:done())
      value = "ready"
      notify(condition)
      assert.equal("ready", task:await())
      assert.equal(3, asked)
    end)

    it("does not wait when it holds already", function()
      local condition <close> = neap.Condition():acquire()
      assert.equal(7, condition:wait_for(function() return 7 end))
    end)

    it("raises the predicate's error, with the lock held", function()
      local condition = neap.Condition()
      assert.is_true(in_task(function()
        local _ <close> = condition:acquire()
        assert.equal("x", catch(condition.wait_for, condition, function() error("x", 0) end))
        return condition:locked()
      end))
      assert.is_false(condition:locked())
    end)

    it("has a predicate that may wait", function()
      local condition, n = neap.Condition(), 0
      local task = neap.create_task(function()
        local _ <close> = condition:acquire()
        return condition:wait_for(function()
          n = n + neap.sleep(0, 1)
          return n == 3 and n
        end)
      end)
      settle()
      notify(condition)
      settle()
      notify(condition)
      assert.equal(3, task:await())
    end)
  end)

  describe("with a cancelled waiter", function()
    it("takes the lock back before it raises", function()
      local condition, held = neap.Condition(), nil
      local task = neap.create_task(function()
        local _ <close> = condition:acquire()
        local err = catch(condition.wait, condition)
        held = condition:locked()
        error(err)
      end)
      settle()
      task:cancel "why"
      assert.equal("why", catch(task.await, task).message)
      assert.is_true(held)
      assert.is_true(task:cancelled())
      assert.is_false(condition:locked())
    end)

    it("waits for the lock however long that takes", function()
      local condition, order, add = neap.Condition(), helper.log()
      local task = neap.create_task(function()
        local _ <close> = condition:acquire()
        local err = catch(condition.wait, condition)
        add "has the lock"
        error(err)
      end)
      settle()
      condition:acquire()
      task:cancel "first"
      settle()
      assert.is_false(task:done())
      task:cancel "second"
      settle()
      assert.is_false(task:done())
      add "released"
      condition:release()
      assert.is_true(neap.CancelledError:is(catch(task.await, task)))
      assert.same({ "released", "has the lock" }, order)
      assert.equal(2, task:cancelling())
      assert.is_false(condition:locked())
    end)

    it("passes a notification on that came too late for it", function()
      local condition, order, add = neap.Condition(), helper.log()
      local a = waiter(condition, add, "a")
      local b = waiter(condition, add, "b")
      settle()
      notify(condition) -- a is woken
      a:cancel()
      settle()
      assert.is_true(a:cancelled())
      assert.is_true(b:done())
      assert.same({ "b" }, order)
    end)

    it("passes it on when it is cancelled while it takes the lock back", function()
      local condition, order, add = neap.Condition(), helper.log()
      local a = waiter(condition, add, "a")
      waiter(condition, add, "b")
      settle()
      condition:acquire()
      condition:notify()
      settle() -- a waits for the lock now
      a:cancel()
      settle()
      condition:release()
      settle()
      assert.is_true(a:cancelled())
      assert.same({ "b" }, order)
      assert.is_false(condition:locked())
    end)

    it("takes no notification that it was cancelled before", function()
      local condition, order, add = neap.Condition(), helper.log()
      local a = waiter(condition, add, "a")
      waiter(condition, add, "b")
      settle()
      a:cancel()
      notify(condition)
      settle()
      assert.same({ "b" }, order)
      assert.is_true(a:cancelled())
    end)

    it("at every moment never loses a notification or the lock", function()
      for moment = 0, 8 do
        for victim = 1, 3 do
          local condition, order, add = neap.Condition(), helper.log()
          local tasks = {}
          for i = 1, 3 do tasks[i] = waiter(condition, add, i) end
          local cancelled = false
          for turn = 0, 8 do
            if turn == 3 then notify(condition, 2) end
            if turn == moment then cancelled = tasks[victim]:cancel() end
            neap.sleep(0)
          end
          settle()
          -- one notification more than there may be cancelled: two got through
          assert.equal(2, #order)
          assert.equal(cancelled, tasks[victim]:cancelled())
          assert.is_false(condition:locked())
          for i = 1, 3 do tasks[i]:cancel() end
          settle()
        end
      end
    end)
  end)

  it("makes a queue of one", function()
    local condition, full, got, add = neap.Condition(), nil, helper.log()
    neap.gather(function()
      for i = 1, 20 do
        local _ <close> = condition:acquire()
        condition:wait_for(function() return full == nil end)
        full = i
        condition:notify_all()
      end
    end, function()
      for _ = 1, 20 do
        local _ <close> = condition:acquire()
        condition:wait_for(function() return full ~= nil end)
        add(full)
        full = nil
        condition:notify_all()
      end
    end)
    assert.equal(20, #got)
    for i = 1, 20 do assert.equal(i, got[i]) end
  end)

  it("wakes the root", function()
    local condition = neap.Condition()
    neap.create_task(function() notify(condition) end)
    local _ <close> = condition:acquire()
    assert.is_true(condition:wait())
  end)

  it("that nobody notifies is a deadlock at top level, with the lock held", function()
    local condition <close> = neap.Condition():acquire()
    local err = catch(condition.wait, condition)
    assert.is_true(neap.DeadlockError:is(err))
    assert.is_true(condition:locked())
  end)
end)
