--- Barrier.

local neap = require "neap"
local helper = require "spec.helper"
local start = helper.start

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

local function is_broken(task)
  return neap.BrokenBarrierError:is(task:exception())
end

describe("a barrier", function()
  --- A task that waits once and notes which place it came in.
  local function comer(barrier, add, name)
    return neap.create_task(function()
      local index = barrier:wait()
      if add then add(name .. index) end
      return index
    end)
  end

  it("lets all go when the last one comes #ordered", function()
    local barrier, log, add = neap.Barrier(3), helper.log()
    comer(barrier, add, "a")
    comer(barrier, add, "b")
    settle()
    assert.same({}, log)
    assert.equal(2, barrier:n_waiting())
    comer(barrier, add, "c")
    settle()
    -- As in asyncio: the last one just goes on, then the others in their order.
    assert.same({ "c3", "a1", "b2" }, log)
    assert.equal(0, barrier:n_waiting())
  end)

  it("of one lets everybody go at once", function()
    local barrier, other_ran = neap.Barrier(1), false
    in_task(function()
      neap.create_task(function() other_ran = true end)
      for _ = 1, 10 do assert.equal(1, barrier:wait()) end
      assert.is_false(other_ran)
    end)
    assert.equal(1, barrier:wait())
  end)

  it("is there again for the next round #ordered", function()
    local barrier, log, add = neap.Barrier(2), helper.log()
    local function worker(name)
      return function()
        for round = 1, 3 do add(name .. round .. barrier:wait()) end
      end
    end
    neap.gather(worker "a", worker "b")
    -- Whoever passes first stands in line first for the next round. (In asyncio `b`, at the
    -- door until `a` has run, is overtaken by it.)
    assert.same({ "b12", "a11", "a22", "b21", "b32", "a31" }, log)
    assert.equal(0, barrier:n_waiting())
  end)

  it("lets newcomers in when the last of those before is out, in their order #ordered", function()
    local barrier, log, add = neap.Barrier(2), helper.log()
    for _, name in ipairs { "a", "b", "c", "d", "e", "f", "g" } do
      comer(barrier, add, name)
    end
    settle()
    assert.same({ "b2", "a1", "d2", "c1", "f2", "e1" }, log)
    assert.equal(1, barrier:n_waiting())
    comer(barrier, add, "h")
    settle()
    assert.equal("h2", log[7])
    assert.equal("g1", log[8])
  end)

  it("is not overtaken by those who come while it drains #ordered", function()
    local barrier, log, add = neap.Barrier(2), helper.log()
    local first = comer(barrier)
    settle()
    assert.equal(2, barrier:wait()) -- drains until `first` has run
    assert.matches("draining", tostring(barrier))
    assert.equal(0, barrier:n_waiting())
    comer(barrier, add, "c")
    local late = neap.create_task(function()
      first:await()
      add("d" .. barrier:wait())
    end)
    settle()
    assert.same({ "d2", "c1" }, log)
    assert.is_true(late:done())
  end)

  it("gives each comer an index of its own, also after a cancellation #ordered", function()
    local barrier = neap.Barrier(3)
    local a, b = comer(barrier), comer(barrier)
    settle()
    a:cancel()
    assert.equal(1, barrier:n_waiting())
    local c, d = comer(barrier), comer(barrier)
    settle()
    assert.same({ 1, 2, 3 }, { b:result(), c:result(), d:result() })
    assert.is_true(a:cancelled())
  end)

  describe("with a cancelled waiter", function()
    it("goes on waiting for one more", function()
      local barrier = neap.Barrier(2)
      local a = comer(barrier)
      settle()
      a:cancel()
      local b = comer(barrier) -- comes before the cancelled one has run
      settle()
      assert.is_false(b:done())
      assert.equal(1, barrier:n_waiting())
      assert.equal(2, barrier:wait())
      assert.equal(1, b:await())
    end)

    it("that was let go already lets the others go and is usable again", function()
      local barrier = neap.Barrier(3)
      local a, b = comer(barrier), comer(barrier)
      settle()
      assert.equal(3, barrier:wait())
      a:cancel()
      b:cancel()
      local c = comer(barrier)
      settle()
      assert.is_true(a:cancelled() and b:cancelled())
      assert.equal(1, barrier:n_waiting())
      c:cancel()
      settle()
      assert.equal(0, barrier:n_waiting())
    end)

    it("among those at the door lets the next one in #ordered", function()
      local barrier = neap.Barrier(2)
      local a = comer(barrier)
      settle()
      local b, c = comer(barrier), comer(barrier) -- run before `a` does
      neap.create_task(function()
        assert(tostring(barrier) == "<Barrier draining waiters=0/2>")
        b:cancel()
      end)
      assert.equal(2, barrier:wait())
      settle()
      assert.is_true(b:cancelled())
      assert.equal(1, a:result())
      assert.equal(1, barrier:n_waiting())
      assert.equal(2, barrier:wait())
      assert.equal(1, c:await())
    end)

    it("at every moment, one of many, keeps the count", function()
      for victim = 1, 7 do
        for moment = 0, 6 do
          local barrier, passed = neap.Barrier(3), 0
          local tasks = {}
          for i = 1, 7 do
            tasks[i] = neap.create_task(function()
              for _ = 1, i % 3 do neap.sleep(0) end
              barrier:wait()
              passed = passed + 1
            end)
          end
          local cancelled
          for turn = 0, 6 do
            if turn == moment then cancelled = tasks[victim]:cancel() end
            neap.sleep(0)
          end
          settle()
          local left = barrier:n_waiting()
          if cancelled and left == 1 then -- its round was complete
            assert.equal(5, passed)
          else
            assert.same({ 6, cancelled and 0 or 1 }, { passed, left })
          end
          for _, task in ipairs(tasks) do task:cancel() end
          settle()
          assert.equal("<Barrier filling waiters=0/3>", tostring(barrier))
        end
      end
    end)
  end)

  describe("reset", function()
    it("breaks it for those who wait, and no longer", function()
      local barrier = neap.Barrier(3)
      local a, b = comer(barrier), comer(barrier)
      settle()
      barrier:reset()
      assert.is_false(barrier:broken())
      assert.equal(0, barrier:n_waiting())
      assert.matches("resetting", tostring(barrier))
      settle()
      assert.is_true(is_broken(a) and is_broken(b))
      assert.equal("Abort or reset of barrier", a:exception().message)
      local c = comer(barrier)
      settle()
      assert.equal(1, barrier:n_waiting())
      local d = comer(barrier)
      settle()
      assert.equal(3, barrier:wait())
      assert.same({ 1, 2 }, { c:await(), d:await() })
    end)

    it("does nothing when nobody waits", function()
      local barrier = neap.Barrier(2)
      barrier:reset()
      assert.equal("<Barrier filling waiters=0/2>", tostring(barrier))
    end)

    it("lets newcomers in after those who were broken", function()
      local barrier = neap.Barrier(2)
      local a = comer(barrier)
      settle()
      local b, c
      in_task(function()
        barrier:reset()
        b, c = start(barrier.wait, barrier), start(barrier.wait, barrier)
      end)
      settle()
      assert.is_true(is_broken(a))
      assert.same({ 1, 2 }, { b:result(), c:result() })
    end)

    it("reaches those who were let go and have not run", function()
      -- As in asyncio.
      local barrier = neap.Barrier(2)
      local a = comer(barrier)
      settle()
      assert.equal(2, barrier:wait())
      barrier:reset()
      settle()
      assert.is_true(is_broken(a))
      assert.equal("<Barrier filling waiters=0/2>", tostring(barrier))
    end)

    it("keeps those at the door #ordered", function()
      local barrier = neap.Barrier(2)
      local a = comer(barrier)
      settle()
      local b = comer(barrier)
      neap.create_task(barrier.reset, barrier)
      assert.equal(2, barrier:wait()) -- wakes `a`, behind the others
      settle()
      assert.is_true(is_broken(a))
      assert.equal(1, barrier:n_waiting())
      assert.equal(2, barrier:wait())
      assert.equal(1, b:await())
    end)

    it("and a cancellation at the same time", function()
      local barrier = neap.Barrier(3)
      local a, b = comer(barrier), comer(barrier)
      settle()
      barrier:reset()
      a:cancel()
      settle()
      assert.is_true(a:cancelled())
      assert.is_true(is_broken(b))
      assert.equal("<Barrier filling waiters=0/3>", tostring(barrier))
    end)
  end)

  describe("aborted", function()
    it("is broken for all until it is reset #ordered", function()
      local barrier = neap.Barrier(3)
      local a = comer(barrier)
      settle()
      barrier:abort()
      assert.is_true(barrier:broken())
      settle()
      assert.is_true(is_broken(a))
      local err = catch(barrier.wait, barrier)
      assert.is_true(neap.BrokenBarrierError:is(err))
      assert.equal("Barrier aborted", err.message)
      assert.equal("<Barrier broken waiters=0/3>", tostring(barrier))
      barrier:reset()
      assert.is_false(barrier:broken())
      local b, c = comer(barrier), comer(barrier)
      settle()
      assert.equal(3, barrier:wait())
      assert.same({ 1, 2 }, { b:await(), c:await() })
    end)

    it("is broken for those at the door, and those who were let go #ordered", function()
      local barrier = neap.Barrier(2)
      local inside = comer(barrier)
      settle()
      local door
      in_task(function()
        door = neap.create_task(barrier.wait, barrier)
        neap.create_task(barrier.abort, barrier)
        barrier:wait()
      end)
      settle()
      assert.is_true(is_broken(inside))
      assert.is_true(is_broken(door))
      assert.is_true(barrier:broken())
    end)

    it("and reset at once leaves it usable", function()
      local barrier = neap.Barrier(2)
      local a = comer(barrier)
      settle()
      barrier:abort()
      barrier:reset()
      local b = comer(barrier)
      settle()
      assert.is_true(is_broken(a))
      assert.equal(1, barrier:n_waiting())
      assert.equal(2, barrier:wait())
      assert.equal(1, b:await())
    end)
  end)

  it("raises a swallowed cancellation again, also where it need not wait", function()
    local barrier = neap.Barrier(1)
    local broken = neap.Barrier(1)
    broken:abort()
    for _, call in ipairs {
      function() barrier:wait() end, function() broken:wait() end, function() barrier:reset() end,
    } do
      local task = neap.create_task(function()
        pcall(neap.sleep, 3600)
        call()
      end)
      settle()
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
    end
  end)

  it("works at top level and in a generator", function()
    local barrier = neap.Barrier(2)
    local task = neap.create_task(function()
      return coroutine.wrap(function() coroutine.yield(barrier:wait()) end)()
    end)
    assert.equal(1, barrier:wait()) -- came first: the task has not started
    assert.equal(2, task:await())
  end)

  it("to which too few come is a deadlock at top level", function()
    local barrier = neap.Barrier(2)
    local err = catch(barrier.wait, barrier)
    assert.is_true(neap.DeadlockError:is(err))
    assert.matches("waits in 'Barrier:wait'", err.message)
    assert.equal(0, barrier:n_waiting())
  end)

  it("has no trouble with a hundred thousand", function()
    local n = helper.many(100000)
    local barrier, sum, first = neap.Barrier(n), 0, nil
    for _ = 1, n do
      neap.create_task(function()
        local index = barrier:wait()
        first = first or index
        sum = sum + index
      end)
    end
    settle(3)
    assert.equal(n * (n + 1) // 2, sum)
    assert.equal(n, first)
    local small = neap.Barrier(2)
    local passed = 0
    for _ = 1, n do
      neap.create_task(function()
        small:wait()
        passed = passed + 1
      end)
    end
    settle(n + 10)
    assert.equal(n, passed)
  end)

  it("is safe where a loop closes with tasks that wait", function()
    local outer = neap.get_event_loop()
    local loop = neap.new_event_loop()
    loop:set_exception_handler(function() end)
    neap.set_event_loop(loop)
    local barrier, other = neap.Barrier(3), neap.Barrier(2)
    loop:run_until_complete(function()
      for _ = 1, 2 do neap.create_task(barrier.wait, barrier) end
      neap.create_task(other.wait, other)
      neap.sleep(0)
    end)
    loop:call_soon(function()
      local ok = pcall(other.wait, other) -- lets the other go, which never runs
      assert(ok)
      loop:stop()
    end)
    loop:run_forever()
    loop:close()
    neap.set_event_loop(outer)
    assert.equal("<Barrier filling waiters=0/3>", tostring(barrier))
    assert.equal("<Barrier filling waiters=0/2>", tostring(other))
  end)

  it("tells its numbers", function()
    local barrier = neap.Barrier(3)
    local a = comer(barrier)
    settle()
    assert.same({ 3, 1, false }, { barrier:parties(), barrier:n_waiting(), barrier:broken() })
    assert.equal("<Barrier filling waiters=1/3>", tostring(barrier))
    a:cancel()
  end)

  it("refuses bad arguments", function()
    assert.matches("bad argument #1 to 'Barrier' %(parties must be > 0%)",
      catch(function() neap.Barrier(0) end))
    assert.matches("parties must be > 0", catch(neap.Barrier, -1))
    assert.matches("too many parties", catch(neap.Barrier, 1 << 40))
    assert.matches("number expected", catch(neap.Barrier))
    assert.matches("no integer representation", catch(neap.Barrier, 1.5))
    assert.matches("Barrier expected", catch(neap.Barrier(1).wait, neap.Lock()))
  end)
end)
