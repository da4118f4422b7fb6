--- Lock: one holder, the others in line.

local neap = require "neap"
local helper = require "spec.helper"
local start = helper.start

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

describe("a lock", function()
  --- A task that takes the lock, notes its name and keeps it for `turns` turns.
  local function taker(lock, add, name, turns)
    return neap.create_task(function()
      local _ <close> = lock:acquire()
      add(name)
      for _ = 1, turns or 0 do neap.sleep(0) end
    end)
  end

  it("is free at first, and gives itself when it is taken", function()
    local lock = neap.Lock()
    assert.is_false(lock:locked())
    assert.equal("<Lock unlocked>", tostring(lock))
    assert.equal(lock, lock:acquire())
    assert.is_true(lock:locked())
    assert.equal("<Lock locked>", tostring(lock))
    lock:release()
    assert.is_false(lock:locked())
  end)

  it("costs no turn when it is free", function()
    local lock, other_ran = neap.Lock(), false
    in_task(function()
      neap.create_task(function() other_ran = true end)
      for _ = 1, 100 do
        lock:acquire()
        lock:release()
        assert.is_true(lock:try_acquire())
        lock:release()
      end
      assert.is_false(other_ran)
    end)
  end)

  it("is released by <close>, at the end and by an error", function()
    local lock = neap.Lock()
    do
      local _ <close> = lock:acquire()
      assert.is_true(lock:locked())
    end
    assert.is_false(lock:locked())
    pcall(function()
      local _ <close> = lock:acquire()
      error "x"
    end)
    assert.is_false(lock:locked())
  end)

  it("cannot be released when nobody holds it", function()
    local lock = neap.Lock()
    assert.matches("Lock is not acquired", catch(lock.release, lock))
    lock:acquire()
    lock:release()
    assert.matches("Lock is not acquired", catch(lock.release, lock))
    assert.is_true(lock:try_acquire())
    lock:release()
  end)

  it("may be released by another task", function()
    local lock = neap.Lock()
    in_task(lock.acquire, lock)
    assert.is_true(lock:locked())
    lock:release()
    assert.is_false(lock:locked())
  end)

  it("serves in the order of arrival #ordered", function()
    local lock, order, add = neap.Lock(), helper.log()
    lock:acquire()
    local tasks = {}
    for i = 1, 10 do tasks[i] = taker(lock, add, i, i % 3) end
    settle()
    assert.same({}, order)
    lock:release()
    neap.gather(tasks)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 }, order)
    assert.is_false(lock:locked())
  end)

  it("lets only one in at a time", function()
    local lock, inside, most = neap.Lock(), 0, 0
    local list = {}
    for i = 1, 50 do
      list[i] = function()
        local _ <close> = lock:acquire()
        inside = inside + 1
        most = math.max(most, inside)
        neap.sleep(0)
        inside = inside - 1
      end
    end
    neap.gather(list)
    assert.equal(1, most)
  end)

  it("is not overtaken between release and the next one's turn", function()
    local lock, order, add = neap.Lock(), helper.log()
    lock:acquire()
    taker(lock, add, "waiter")
    settle()
    lock:release()
    -- it is meant for the waiter, who has not run yet
    assert.is_false(lock:locked())
    assert.is_false(lock:try_acquire())
    local _ <close> = lock:acquire()
    add "releaser"
    assert.same({ "waiter", "releaser" }, order)
  end)

  it("is not overtaken by one who releases and takes it again #ordered", function()
    local lock, order, add = neap.Lock(), helper.log()
    local function worker(name)
      for i = 1, 3 do
        lock:acquire()
        add(name .. i)
        neap.sleep(0)
        lock:release()
      end
    end
    neap.gather(function() worker "a" end, function() worker "b" end)
    assert.same({ "a1", "b1", "a2", "b2", "a3", "b3" }, order)
  end)

  it("try_acquire never waits and never overtakes #ordered", function()
    local lock, order, add = neap.Lock(), helper.log()
    assert.is_true(lock:try_acquire())
    assert.is_false(lock:try_acquire())
    taker(lock, add, "a")
    taker(lock, add, "b")
    settle()
    lock:release()
    assert.is_false(lock:try_acquire())
    neap.sleep(0)
    assert.same({ "a" }, order)
    assert.is_false(lock:try_acquire())
    settle()
    assert.same({ "a", "b" }, order)
    assert.is_true(lock:try_acquire())
    lock:release()
  end)

  describe("with a cancelled waiter", function()
    it("goes on without it #ordered", function()
      local lock, order, add = neap.Lock(), helper.log()
      lock:acquire()
      local tasks = {}
      for i = 1, 5 do tasks[i] = taker(lock, add, i) end
      settle()
      for _, i in ipairs { 1, 3, 5 } do tasks[i]:cancel() end
      settle()
      lock:release()
      settle()
      assert.same({ 2, 4 }, order)
      assert.is_true(tasks[1]:cancelled())
      assert.is_false(lock:locked())
      assert.is_true(lock:try_acquire())
      lock:release()
    end)

    it("passes it on when it had just been handed over", function()
      local lock, order, add = neap.Lock(), helper.log()
      lock:acquire()
      local a = taker(lock, add, "a")
      local b = taker(lock, add, "b")
      settle()
      lock:release() -- a is woken
      a:cancel() -- and does not live to have it
      settle()
      assert.is_true(a:cancelled())
      assert.is_true(b:done())
      assert.same({ "b" }, order)
      assert.is_false(lock:locked())
    end)

    it("is free when that was the last one", function()
      local lock, order, add = neap.Lock(), helper.log()
      lock:acquire()
      local a = taker(lock, add, "a")
      settle()
      lock:release()
      a:cancel()
      settle()
      assert.is_true(a:cancelled())
      assert.same({}, order)
      assert.is_true(lock:try_acquire())
      lock:release()
    end)

    it("passes it along a row of them", function()
      local lock, order, add = neap.Lock(), helper.log()
      lock:acquire()
      local tasks = {}
      for i = 1, 6 do tasks[i] = taker(lock, add, i) end
      settle()
      lock:release()
      for i = 1, 5 do tasks[i]:cancel() end
      settle(20)
      assert.same({ 6 }, order)
      assert.is_false(lock:locked())
    end)

    it("serves those who came after the release behind those before", function()
      local lock, order, add = neap.Lock(), helper.log()
      lock:acquire()
      local a = taker(lock, add, "a")
      taker(lock, add, "b")
      settle()
      lock:release()
      taker(lock, add, "late")
      a:cancel()
      settle()
      assert.same({ "b", "late" }, order)
    end)

    it("cancelled before the release in the same turn gets nothing", function()
      local lock, order, add = neap.Lock(), helper.log()
      lock:acquire()
      local a = taker(lock, add, "a")
      taker(lock, add, "b")
      settle()
      a:cancel()
      lock:release()
      settle()
      assert.same({ "b" }, order)
      assert.is_false(lock:locked())
    end)

    it("that swallows it and comes back stands at the end", function()
      local lock, order, add = neap.Lock(), helper.log()
      lock:acquire()
      local a = neap.create_task(function()
        pcall(lock.acquire, lock)
        neap.current_task():uncancel()
        local _ <close> = lock:acquire()
        add "a"
      end)
      taker(lock, add, "b")
      settle()
      a:cancel()
      settle()
      lock:release()
      settle()
      assert.same({ "b", "a" }, order)
    end)

    it("at every moment, one of many, never loses it", function()
      for victim = 1, 4 do
        for moment = 0, 9 do
          local lock, order, add = neap.Lock(), helper.log()
          lock:acquire()
          local tasks = {}
          for i = 1, 4 do tasks[i] = taker(lock, add, i, 1) end
          local cancelled
          for turn = 0, 9 do
            if turn == 2 then lock:release() end
            if turn == moment then cancelled = tasks[victim]:cancel() end
            neap.sleep(0)
          end
          settle(12)
          for i = 1, 4 do
            assert.is_true(tasks[i]:done())
            assert.equal(i == victim and cancelled, tasks[i]:cancelled())
          end
          assert.is_false(lock:locked())
          assert.is_true(lock:try_acquire())
          assert.is_true(#order >= 3)
        end
      end
    end)
  end)

  it("wakes the root, in its turn", function()
    local lock, order, add = neap.Lock(), helper.log()
    taker(lock, add, "a", 2)
    neap.sleep(0)
    local late = neap.get_event_loop()
    late:call_soon(function() taker(lock, add, "b") end)
    lock:acquire()
    add "root"
    lock:release()
    settle()
    assert.same({ "a", "root", "b" }, order)
  end)

  it("that nobody releases is a deadlock at top level", function()
    local lock = neap.Lock()
    lock:acquire()
    local err = catch(lock.acquire, lock)
    assert.is_true(neap.DeadlockError:is(err))
    assert.matches("the main chunk waits in 'Lock:acquire' at .- held by itself", err.message)
    lock:release()
    assert.is_true(lock:try_acquire())
    lock:release()
  end)

  it("is passed on by a task that is closed by force", function()
    local lock, order, add = neap.Lock(), helper.log()
    local loop = neap.new_event_loop()
    loop:set_exception_handler(function() end)
    lock:acquire()
    loop:create_task(lock.acquire, lock)
    loop:run_until_complete(neap.sleep, 0)
    local task = taker(lock, add, "other")
    settle()
    lock:release() -- for the one who will never run
    loop:close()
    task:await()
    assert.same({ "other" }, order)
    assert.is_false(lock:locked())
  end)

  it("is collected with those that wait for it gone", function()
    local weak = setmetatable({}, { __mode = "k" })
    do
      local lock = neap.Lock()
      weak[lock] = true
      lock:acquire()
      local task = neap.create_task(lock.acquire, lock)
      settle()
      task:cancel()
    end
    settle()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("works with thousands of waiters, half of them cancelled", function()
    local lock, n, many = neap.Lock(), 0, helper.many(10000)
    lock:acquire()
    local tasks = {}
    for i = 1, many do
      tasks[i] = start(function()
        local _ <close> = lock:acquire()
        n = n + 1
      end)
    end
    settle()
    for i = 1, many, 2 do tasks[i]:cancel() end
    lock:release()
    tasks[many]:await()
    settle()
    assert.equal(many // 2, n)
  end)

  it("refuses other objects", function()
    local lock = neap.Lock()
    assert.has_error(function() lock.acquire(neap.Event()) end)
    assert.has_error(function() lock.release {} end)
    assert.has_error(function() lock.locked() end)
  end)
end)
