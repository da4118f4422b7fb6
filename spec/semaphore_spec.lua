--- Semaphore and BoundedSemaphore.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

describe("a semaphore", function()
  local function taker(semaphore, add, name, turns)
    return neap.create_task(function()
      local _ <close> = semaphore:acquire()
      add(name)
      for _ = 1, turns or 0 do neap.sleep(0) end
    end)
  end

  --- How many units are free, by taking them.
  local function units(semaphore)
    local n = 0
    while semaphore:try_acquire() do n = n + 1 end
    for _ = 1, n do semaphore:release() end
    return n
  end

  it("has as many units as given, 1 by default", function()
    assert.equal(3, units(neap.Semaphore(3)))
    assert.equal(0, units(neap.Semaphore(0)))
    assert.equal(1, units(neap.Semaphore()))
    assert.equal(1, units(neap.BoundedSemaphore()))
    assert.has_error(function() neap.Semaphore(-1) end)
    assert.has_error(function() neap.Semaphore "x" end)
    assert.has_error(function() neap.BoundedSemaphore(1.5) end)
  end)

  it("gives itself, for <close>", function()
    local semaphore = neap.Semaphore(2)
    do
      local held <close> = semaphore:acquire()
      assert.equal(semaphore, held)
      assert.equal(1, units(semaphore))
    end
    assert.equal(2, units(semaphore))
  end)

  it("is locked when no unit is free", function()
    local semaphore = neap.Semaphore(2)
    assert.is_false(semaphore:locked())
    semaphore:acquire()
    assert.is_false(semaphore:locked())
    semaphore:acquire()
    assert.is_true(semaphore:locked())
    assert.is_false(semaphore:try_acquire())
    semaphore:release()
    assert.is_false(semaphore:locked())
  end)

  it("costs no turn when it is free", function()
    local semaphore, other_ran = neap.Semaphore(1), false
    in_task(function()
      neap.create_task(function() other_ran = true end)
      for _ = 1, 100 do
        semaphore:acquire()
        semaphore:release()
      end
      assert.is_false(other_ran)
    end)
  end)

  it("lets in no more than it has, and all in the end", function()
    local semaphore, inside, most, n = neap.Semaphore(3), 0, 0, 0
    local list = {}
    for i = 1, 40 do
      list[i] = function()
        local _ <close> = semaphore:acquire()
        inside = inside + 1
        most = math.max(most, inside)
        for _ = 1, i % 4 do neap.sleep(0) end
        inside = inside - 1
        n = n + 1
      end
    end
    neap.gather(list)
    assert.same({ 3, 40, 0 }, { most, n, inside })
    assert.equal(3, units(semaphore))
  end)

  it("serves in the order of arrival #ordered", function()
    local semaphore, order, add = neap.Semaphore(2), helper.log()
    local tasks = {}
    for i = 1, 8 do tasks[i] = taker(semaphore, add, i, i % 3) end
    neap.gather(tasks)
    assert.same({ 1, 2, 3, 4, 5, 6, 7, 8 }, order)
  end)

  it("may be released more often than it was taken", function()
    local semaphore = neap.Semaphore(1)
    semaphore:release()
    semaphore:release()
    assert.equal(3, units(semaphore))
  end)

  it("when bounded, may not", function()
    local semaphore = neap.BoundedSemaphore(2)
    assert.matches("BoundedSemaphore released too many times",
      catch(semaphore.release, semaphore))
    semaphore:acquire()
    semaphore:release()
    assert.matches("released too many times", catch(semaphore.release, semaphore))
    assert.equal(2, units(semaphore))
  end)

  it("wakes as many as are released #ordered", function()
    local semaphore, order, add = neap.Semaphore(0), helper.log()
    for i = 1, 5 do
      neap.create_task(function()
        semaphore:acquire()
        add(i)
      end)
    end
    settle()
    semaphore:release()
    semaphore:release()
    settle()
    assert.same({ 1, 2 }, order)
    for _ = 1, 3 do semaphore:release() end
    settle()
    assert.same({ 1, 2, 3, 4, 5 }, order)
    assert.equal(0, units(semaphore))
  end)

  it("is not overtaken between release and the next one's turn", function()
    local semaphore, order, add = neap.Semaphore(1), helper.log()
    semaphore:acquire()
    taker(semaphore, add, "waiter")
    settle()
    semaphore:release()
    assert.is_true(semaphore:locked())
    assert.is_false(semaphore:try_acquire())
    local _ <close> = semaphore:acquire()
    add "releaser"
    assert.same({ "waiter", "releaser" }, order)
  end)

  it("is not overtaken by one who releases and takes it again #ordered", function()
    local semaphore, order, add = neap.Semaphore(1), helper.log()
    local function worker(name)
      for i = 1, 3 do
        local _ <close> = semaphore:acquire()
        add(name .. i)
        neap.sleep(0)
      end
    end
    neap.gather(function() worker "a" end, function() worker "b" end)
    assert.same({ "a1", "b1", "a2", "b2", "a3", "b3" }, order)
  end)

  describe("with a cancelled waiter", function()
    it("goes on without it #ordered", function()
      local semaphore, order, add = neap.Semaphore(0), helper.log()
      local tasks = {}
      for i = 1, 5 do tasks[i] = taker(semaphore, add, i) end
      settle()
      for _, i in ipairs { 1, 3, 5 } do tasks[i]:cancel() end
      semaphore:release()
      settle()
      assert.same({ 2, 4 }, order)
      assert.equal(1, units(semaphore))
    end)

    it("passes a unit on that it had just been handed", function()
      local semaphore, order, add = neap.Semaphore(0), helper.log()
      local a = taker(semaphore, add, "a")
      local b = taker(semaphore, add, "b")
      settle()
      semaphore:release()
      a:cancel()
      settle()
      assert.is_true(a:cancelled())
      assert.is_true(b:done())
      assert.same({ "b" }, order)
      assert.equal(1, units(semaphore))
    end)

    it("keeps the unit when that was the last one", function()
      local semaphore, order, add = neap.BoundedSemaphore(1), helper.log()
      semaphore:acquire()
      local a = taker(semaphore, add, "a")
      settle()
      semaphore:release()
      a:cancel()
      settle()
      assert.is_true(a:cancelled())
      assert.same({}, order)
      assert.equal(1, units(semaphore))
      assert.is_false(semaphore:locked())
    end)

    it("passes units along a row of them #ordered", function()
      local semaphore, order, add = neap.Semaphore(0), helper.log()
      local tasks = {}
      for i = 1, 7 do tasks[i] = taker(semaphore, add, i) end
      settle()
      semaphore:release()
      semaphore:release()
      for i = 1, 5 do tasks[i]:cancel() end
      settle(20)
      assert.same({ 6, 7 }, order)
      assert.equal(2, units(semaphore))
    end)

    it("at every moment, one of many, never loses a unit", function()
      for victim = 1, 4 do
        for moment = 0, 9 do
          for free = 1, 2 do
            local semaphore, order, add = neap.BoundedSemaphore(free), helper.log()
            for _ = 1, free do semaphore:acquire() end
            local tasks = {}
            for i = 1, 4 do tasks[i] = taker(semaphore, add, i, 1) end
            local cancelled
            for turn = 0, 9 do
              if turn == 2 then
                for _ = 1, free do semaphore:release() end
              end
              if turn == moment then cancelled = tasks[victim]:cancel() end
              neap.sleep(0)
            end
            settle(12)
            for i = 1, 4 do
              assert.is_true(tasks[i]:done())
              assert.equal(i == victim and cancelled, tasks[i]:cancelled())
            end
            assert.equal(free, units(semaphore))
            assert.is_true(#order >= 3)
          end
        end
      end
    end)
  end)

  it("wakes the root", function()
    local semaphore = neap.Semaphore(0)
    neap.get_event_loop():call_soon(semaphore.release, semaphore)
    assert.equal(semaphore, semaphore:acquire())
  end)

  it("that nobody releases is a deadlock at top level", function()
    local semaphore = neap.Semaphore(0)
    local err = catch(semaphore.acquire, semaphore)
    assert.is_true(neap.DeadlockError:is(err))
    assert.matches("waits in 'Semaphore:acquire'", err.message)
    semaphore:release()
    assert.equal(1, units(semaphore))
  end)

  it("refuses other objects", function()
    local semaphore = neap.Semaphore(1)
    assert.has_error(function() semaphore.acquire(neap.Lock()) end)
    assert.has_error(function() semaphore.release() end)
  end)
end)
