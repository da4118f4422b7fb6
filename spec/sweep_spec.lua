--- Every primitive, cancelled at each of its waits: nothing is lost, held or left.

local neap = require "neap"
local test = require "neap.test"

--- Sweeps `fn`, which has to wait at least `waits` times when nobody cancels it.
local function sweep(waits, fn, opts)
  local n = test.cancel_sweep(fn, opts)
  assert.is_true(n >= waits, ("only %d waits were cancelled"):format(n))
end

--- Runs fn in a task of the group, for what the others do to the one that is cancelled.
local function group_of(...)
  local group = neap.TaskGroup()
  for _, fn in ipairs { ... } do group:create_task(fn) end
  return group
end

describe("a cancel sweep of", function()
  it("sleep", function()
    sweep(3, function()
      neap.sleep(1)
      neap.sleep(0)
      neap.sleep(0.5)
    end)
  end)

  it("await of a task", function()
    sweep(2, function()
      assert.equal("x", neap.create_task(neap.sleep, 1, "x"):await())
      assert.equal("y", neap.create_task(function()
        return neap.create_task(neap.sleep, 0, "y"):await()
      end):await())
    end)
  end)

  it("await of a future", function()
    sweep(1, function()
      local future = neap.Future()
      local handle <const> = neap.get_running_loop():call_later(1, function()
        if not future:done() then future:set_result(1) end
      end)
      local _cancel <close> = setmetatable({}, { __close = function() handle:cancel() end })
      assert.equal(1, future:await())
    end)
  end)

  it("gather", function()
    sweep(1, function()
      neap.gather(neap.create_task(neap.sleep, 1), function() neap.sleep(2) end)
      neap.gather({ function() neap.sleep(0) end, function() neap.sleep(1) end },
        { return_exceptions = true })
    end)
  end)

  it("Lock, whose next in line still gets it", function()
    sweep(2, function()
      local lock = neap.Lock()
      local got = 0
      local _group <close> = group_of(function()
        local _held <close> = lock:acquire()
        neap.sleep(1)
      end)
      neap.sleep(0.5)
      local next_one = neap.create_task(function()
        neap.sleep(0.1) -- in line behind the one that is cancelled
        local _held <close> = lock:acquire()
        got = got + 1
      end)
      local _next <close> = setmetatable({}, { __close = function()
        neap.shield(next_one)
        assert.equal(1, got)
      end })
      local _held <close> = lock:acquire()
      neap.sleep(1)
    end)
  end)

  it("Event", function()
    sweep(1, function()
      local event = neap.Event()
      local _group <close> = group_of(function()
        neap.sleep(1)
        event:set()
      end, function() event:wait() end)
      event:wait()
    end)
  end)

  for _, name in ipairs { "Semaphore", "BoundedSemaphore" } do
    it(name, function()
      sweep(2, function()
        local semaphore = neap[name](2)
        local function hold()
          local _unit <close> = semaphore:acquire()
          neap.sleep(1)
        end
        local _group <close> = group_of(hold, hold, hold)
        neap.sleep(0.5)
        hold()
      end)
    end)
  end

  it("Condition:wait, whose notification goes on to the next", function()
    sweep(1, function()
      local condition = neap.Condition()
      local _group <close> = group_of(function()
        neap.sleep(1)
        local _held <close> = condition:acquire()
        condition:notify_all()
      end)
      local _held <close> = condition:acquire()
      condition:wait()
    end)
  end)

  it("Condition:wait while the lock is taken back", function()
    sweep(2, function()
      local condition = neap.Condition()
      local function wait()
        local _held <close> = condition:acquire()
        condition:wait()
        neap.sleep(1)
      end
      local _group <close> = group_of(wait, wait, function()
        neap.sleep(1)
        local _held <close> = condition:acquire()
        condition:notify_all()
        neap.sleep(1) -- nobody gets the lock back before this
      end)
      wait()
    end)
  end)

  it("Condition:wait_for", function()
    sweep(1, function()
      local condition, n = neap.Condition(), 0
      local _group <close> = group_of(function()
        for _ = 1, 3 do
          neap.sleep(1)
          local _held <close> = condition:acquire()
          n = n + 1
          condition:notify()
        end
      end)
      local _held <close> = condition:acquire()
      assert.is_true(condition:wait_for(function() return n >= 3 end))
    end)
  end)

  for _, name in ipairs { "Queue", "PriorityQueue", "LifoQueue" } do
    it(name .. ":get, which loses no item", function()
      sweep(3, function()
        local queue = neap[name]()
        local put, got = 0, 0
        local _after <close> = setmetatable({}, { __close = function()
          assert.equal(put, got + queue:qsize())
        end })
        local _group <close> = group_of(function()
          for i = 1, 3 do
            neap.sleep(1)
            put = put + 1
            queue:put_nowait(i)
          end
        end)
        for _ = 1, 3 do
          queue:get()
          got = got + 1
        end
      end)
    end)

    it(name .. ":put, which puts once or not at all", function()
      sweep(2, function()
        local queue = neap[name](1)
        local put, got = 0, 0
        local _after <close> = setmetatable({}, { __close = function()
          assert.equal(put, got + queue:qsize())
        end })
        local _group <close> = group_of(function()
          for _ = 1, 3 do
            neap.sleep(1)
            queue:get()
            got = got + 1
          end
        end)
        for i = 1, 4 do
          queue:put(i)
          put = put + 1
        end
      end)
    end)

    it(name .. ":join", function()
      sweep(1, function()
        local queue = neap[name]()
        queue:put(1)
        queue:put(2)
        local _group <close> = group_of(function()
          for _ = 1, 2 do
            queue:get()
            neap.sleep(1)
            queue:task_done()
          end
        end)
        queue:join()
      end)
    end)
  end

  it("Barrier:wait", function()
    sweep(1, function()
      local barrier = neap.Barrier(3)
      local function pass(delay)
        return function()
          neap.sleep(delay)
          neap.wait_for(barrier.wait, 30, barrier)
        end
      end
      local _group <close> = group_of(pass(1), pass(2))
      barrier:wait()
    end)
  end)

  it("wait", function()
    sweep(2, function()
      local tasks = {}
      local _cancel <close> = setmetatable({}, { __close = function()
        for _, task in ipairs(tasks) do task:cancel() end
      end })
      for i = 1, 3 do tasks[i] = neap.create_task(neap.sleep, i) end
      neap.wait(tasks, { return_when = "first_completed" })
      neap.wait(tasks, { timeout = 0.5 })
      neap.wait(tasks)
    end)
  end)

  it("as_completed", function()
    sweep(3, function()
      local tasks = {}
      local _cancel <close> = setmetatable({}, { __close = function()
        for _, task in ipairs(tasks) do task:cancel() end
      end })
      for i = 1, 3 do tasks[i] = neap.create_task(neap.sleep, i) end
      local n = 0
      for task in neap.as_completed(tasks, { timeout = 10 }) do
        task:result()
        n = n + 1
      end
      assert.equal(3, n)
    end)
  end)

  it("wait_for", function()
    sweep(2, function()
      assert.equal("x", neap.wait_for(neap.sleep, 5, 1, "x"))
      local ok, err = pcall(neap.wait_for, neap.sleep, 1, 5)
      assert.is_false(ok)
      if not neap.TimeoutError:is(err) then error(err, 0) end
    end)
  end)

  it("timeout", function()
    sweep(3, function()
      do
        local _limit <close> = neap.timeout(5)
        neap.sleep(1)
      end
      local ok, err = pcall(function()
        local _limit <close> = neap.timeout(1)
        neap.sleep(5)
      end)
      assert.is_false(ok)
      if not neap.TimeoutError:is(err) then error(err, 0) end
      neap.sleep(1)
    end)
  end)

  it("shield", function()
    sweep(1, function()
      local inner = neap.create_task(neap.sleep, 1, "x")
      local _inner <close> = setmetatable({}, { __close = function()
        neap.shield(inner) -- it goes on, whatever happens
        assert.is_true(inner:done() and not inner:cancelled())
      end })
      assert.equal("x", neap.shield(inner))
    end)
  end)

  it("TaskGroup", function()
    sweep(2, function()
      local group <close> = neap.TaskGroup()
      group:create_task(neap.sleep, 2)
      group:create_task(function()
        local inner <close> = neap.TaskGroup()
        inner:create_task(neap.sleep, 3)
      end)
      neap.sleep(1)
    end)
  end)

  it("a TaskGroup that fails", function()
    sweep(1, function()
      local ok, err = pcall(function()
        local group <close> = neap.TaskGroup()
        group:create_task(function()
          neap.sleep(1)
          error "boom"
        end)
        neap.sleep(5)
      end)
      assert.is_false(ok)
      if not neap.ExceptionGroup:is(err) then error(err, 0) end
    end, { outcome = "any" })
  end)
end)
