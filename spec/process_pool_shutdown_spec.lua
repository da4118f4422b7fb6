--- Process pools: their end, and that of those who use them.

local neap = require "neap"
local test = require "neap.test"
local thread = require "neap.thread"
local helper = require "spec.helper"
local children = require "spec.support.children"
local folder = require "spec.support.folder"

local catch = helper.catch

local function pool_of(options) return thread.ProcessPoolExecutor(options) end

local function pid() return require "neap.core.worker".pid() end

--- The numbers of the processes that a pool has by now.
local function numbers(pool)
  local list = {}
  for worker in pairs(pool._workers) do list[#list + 1] = worker.process.pid end
  return list
end

--- Whether none of them is there any more, not even as a zombie.
local function are_gone(list)
  for _, number in ipairs(list) do
    if children.exists(number) then return false end
  end
  return true
end

local function late(x)
  neap.sleep(0.01)
  return x
end

describe("ProcessPoolExecutor:shutdown", function()
  local at = folder(before_each, after_each)

  it("waits for all jobs and the end of the processes", function()
    for _, run in ipairs { helper.direct, helper.in_task } do
      run(function()
        local pool, futures = pool_of(2), {}
        for i = 1, 6 do futures[i] = pool:submit(late, i) end
        pool:submit(pid):await()
        local before = numbers(pool)
        assert.equal(2, #before)
        pool:shutdown()
        for i, future in ipairs(futures) do
          assert.is_true(future:done())
          assert.equal(i, future:result())
        end
        assert.is_true(are_gone(before))
        assert.equal("<ProcessPoolExecutor shut down, 0 of 2 workers, 0 jobs>", tostring(pool))
        pool:shutdown()
        pool:shutdown(false)
      end)
    end
  end)

  it("does not wait when it is told so: what is queued is done", function()
    local pool, futures = pool_of(1), {}
    for i = 1, 3 do futures[i] = pool:submit(late, i) end
    pool:shutdown(false)
    assert.is_false(futures[1]:done())
    for i, future in ipairs(futures) do assert.equal(i, future:await()) end
    pool:shutdown()
  end)

  it("can cancel what has not started", function()
    local pool, futures = pool_of(1), {}
    local gate = at "gate"
    local function job(x)
      while not io.open(gate) do neap.sleep(0.001) end
      return x
    end
    for i = 1, 4 do futures[i] = pool:submit(job, i) end
    helper.settle()
    local task = helper.start(pool.shutdown, pool, true, { cancel_futures = true })
    for i = 2, 4 do assert.is_true(futures[i]:cancelled()) end
    io.open(gate, "w"):close()
    task:await()
    assert.equal(1, futures[1]:result())
    for i = 2, 4 do assert.is_true(futures[i]:cancelled()) end
  end)

  it("takes no more jobs", function()
    local pool = pool_of(1)
    pool:shutdown() -- nothing was started
    for _, use in ipairs { function() pool:submit(pid) end,
      function() neap.get_event_loop():run_in_executor(pool, pid) end,
      function() pool:map(pid, { 1 })() end }
    do
      local err = catch(use)
      assert.is_true(neap.Error:is(err))
      assert.equal("cannot schedule new futures after shutdown", err.message)
    end
  end)

  it("is waited for by several, one of whom may be cancelled", function()
    local pool = pool_of(1)
    local future = pool:submit(late, 1)
    local one = helper.start(pool.shutdown, pool)
    local two = helper.start(pool.shutdown, pool)
    one:cancel()
    assert.is_true(helper.is_cancelled(catch(one.await, one)))
    two:await()
    assert.equal(1, future:result())
    assert.is_true(are_gone(numbers(pool)))
  end)

  it("replaces a worker that dies, for what is queued", function()
    local pool = pool_of(1)
    local broken = pool:submit(os.exit, 1)
    local future = pool:submit(late, 5)
    pool:shutdown()
    assert.is_true(neap.BrokenExecutor:is(broken:exception()))
    assert.equal(5, future:result())
  end)

  it("ends processes in which jobs have left tasks", function()
    local pool = pool_of(1)
    pool:submit(function() neap.create_task(neap.sleep, 1000) end):await()
    local before = numbers(pool)
    pool:shutdown()
    assert.is_true(are_gone(before))
  end)

  it("is the end of a block", function()
    local before, future
    do
      local pool <close> = pool_of(2)
      future = pool:submit(late, 1)
      pool:submit(pid):await()
      before = numbers(pool)
    end
    assert.equal(1, future:result())
    assert.is_true(are_gone(before))
  end)
end)

describe("a block that fails", function()
  local at = folder(before_each, after_each)

  it("cancels what is queued or runs", function()
    local futures, before = {}, nil
    local err = catch(function()
      local pool <close> = pool_of(1)
      pool:submit(pid):await()
      for i = 1, 3 do futures[i] = pool:submit(neap.sleep, 100) end
      helper.settle()
      before = numbers(pool)
      error("block", 0)
    end)
    assert.equal("block", err)
    for i = 1, 3 do assert.is_true(futures[i]:cancelled()) end
    assert.is_true(are_gone(before))
  end)

  it("leaves nothing behind, wherever it is cancelled", function()
    local waits = test.cancel_sweep(function()
      local pool <close> = pool_of(1)
      local sum = 0
      for x in pool:map(late, { 1, 2 }) do sum = sum + x end
      assert.equal(3, sum)
      pcall(function() pool:submit(os.exit, 1):await() end)
      pool:submit(late, 1)
    end)
    assert.is_true(waits >= 5)
  end)

  it("ends the processes of jobs that do not mind", function()
    local started, before = at "started", nil
    local task = neap.create_task(function()
      local pool <close> = pool_of(1)
      local future = pool:submit(function()
        io.open(started, "w"):close()
        while true do end
      end)
      while not io.open(started) do neap.sleep(0.001) end
      before = numbers(pool)
      future:await()
    end)
    while not before do neap.sleep(0.001) end
    task:cancel()
    assert.is_true(helper.is_cancelled(catch(task.await, task)))
    assert.is_true(are_gone(before))
  end)
end)

describe("the event loop of a ProcessPoolExecutor", function()
  it("ends the processes, whatever they do; the next one gets others", function()
    local pool, before, future = pool_of(2), nil, nil
    neap.run(function()
      pool:submit(pid):await()
      future = pool:submit(neap.sleep, 100)
      helper.settle()
      pool:submit(pid):await()
      before = numbers(pool)
    end)
    assert.is_true(are_gone(before))
    assert.is_true(future:cancelled())
    neap.run(function() assert.equal(1, pool:submit(math.max, 1):await()) end)
    pool:shutdown()
    pool = pool_of(1)
    neap.run(function() pool:submit(pid):await() end)
    assert.equal(1, pool:submit(math.max, 1):await())
    pool:shutdown()
  end)

  it("is the one in which it is used first", function()
    local pool <close> = pool_of(1)
    pool:submit(pid):await()
    local err = neap.run(function() return catch(pool.submit, pool, pid) end)
    assert.matches("this executor belongs to another event loop", err)
  end)
end)

describe("a program", function()
  it("ends although there are idle workers, and leaves none", function()
    local result = helper.run [[
      local neap = require "neap"
      local thread = require "neap.thread"
      KEPT = thread.ProcessPoolExecutor(2)
      for i = 1, 2 do KEPT:submit(print, "job"):await() end
      print(KEPT:submit(function() return require "neap.core.worker".pid() end):await())
    ]]
    assert.same({ 0, "" }, { result.code, result.err })
    local number = result.out:match "^job\njob\n(%d+)\n$"
    assert.is_false(children.exists(number))
  end)

  it("goes on until the last job is done", function()
    local result = helper.run [[
      local neap = require "neap"
      local pool = require "neap.thread".ProcessPoolExecutor(1)
      for i = 1, 2 do pool:submit(function() neap.sleep(0.01) print("job", i) end) end
    ]]
    assert.same({ out = "job\t1\njob\t2\n", err = "", code = 0 }, result)
  end)

  it("takes its workers with it when it is killed, busy ones too", function()
    local result = helper.run [[
      local neap = require "neap"
      local pool = require "neap.thread".ProcessPoolExecutor(3)
      local function job(busy)
        print(require "neap.core.worker".pid())
        io.stdout:flush()
        while busy do end
        neap.sleep(100)
      end
      for i = 1, 3 do pool:submit(job, i == 1) end
      while select(2, io.open("out"):read "a":gsub("\n", "")) < 3 do neap.sleep(0.01) end
      os.execute "kill -9 $PPID"
    ]]
    assert.equal(137, result.code)
    for number in result.out:gmatch "%d+" do children.gone(number) end
  end)

  it("that is interrupted decides what becomes of its jobs", function()
    local result = helper.run [[
      local neap = require "neap"
      local thread = require "neap.thread"
      local pool = thread.ProcessPoolExecutor(1)
      local future = pool:submit(function()
        print "started"
        io.stdout:flush()
        neap.sleep(0.1)
        return "done"
      end)
      while not io.open("out"):read "a":find "started" do neap.sleep(0.005) end
      -- As a terminal does it: for all of the group.
      local number = next(pool._workers).process.pid
      neap.create_task(io.popen, "kill -INT $PPID " .. number) -- os.execute would ignore it
      print(pcall(neap.sleep, 10))
      print(future:await())
    ]]
    assert.same({ out = "started\nfalse\tKeyboardInterrupt\ndone\n", err = "", code = 0 }, result)
  end)

  it("leaves no descriptors behind", function()
    local before = helper.descriptors()
    for _ = 1, 3 do
      local pool <close> = pool_of(2)
      neap.gather { pool:submit(late, 1), pool:submit(late, 2) }
      catch(function() pool:submit(os.exit, 1):await() end)
    end
    helper.await_descriptors(before)
  end)

  it("that drops an idle executor lets its processes end", function()
    local before
    do
      local pool = pool_of(1)
      pool:submit(pid):await()
      before = numbers(pool)
    end
    for _ = 1, 1000 do
      if are_gone(before) then break end
      collectgarbage()
      neap.sleep(0.002)
    end
    assert.is_true(are_gone(before))
  end)
end)
