--- ThreadPoolExecutor, neap.to_thread, loop:run_in_executor.

local neap = require "neap"
local thread = require "neap.thread"
local helper = require "spec.helper"
local catch = helper.catch

-- A worker that says which one it is, and waits for leave to go on.
local function gate()
  local said, go = thread.Channel(), thread.Channel()
  return said, go, function(value)
    said:send(value)
    return value, go:recv()
  end
end

describe("the end of a block", function()
  it("cancels what runs when a cancellation comes while it waits", function()
    local job
    local task = neap.create_task(function()
      local pool <close> = thread.ThreadPoolExecutor(1)
      job = pool:submit(function() neap.Future():await() end)
    end)
    neap.sleep(0)
    task:cancel()
    neap.wait { task }
    assert.is_true(task:cancelled())
    assert.is_true(job:cancelled())
  end)

  it("interrupts what runs when an error has left it #stuck", function()
    local ready = thread.Channel()
    local err = catch(function()
      local pool <close> = thread.ThreadPoolExecutor(2)
      for _ = 1, 3 do
        pool:submit(function()
          ready:send(true)
          while true do end
        end)
      end
      ready:recv()
      ready:recv()
      error("left", 0)
    end)
    assert.equal("left", err)
    assert.is_nil(ready:try_recv())
  end)
end)

describe("submit", function()
  it("gives a Future of the results", function()
    local pool <close> = thread.ThreadPoolExecutor(2)
    local future = pool:submit(function(a, b) return a + b, nil, "x" end, 1, 2)
    assert.matches("^<Future", tostring(future))
    assert.same({ 3, nil, "x", n = 3 }, table.pack(future:await()))
  end)

  it("runs as many at a time as there are workers, the rest in order", function()
    local pool <close> = thread.ThreadPoolExecutor { workers = 2 }
    local said, go, wait = gate()
    local futures = {}
    for i = 1, 4 do futures[i] = pool:submit(wait, i) end
    local first, second = said:recv(), said:recv()
    assert.equal(3, first + second)
    assert.is_nil((said:try_recv()))
    go:send "a"
    assert.equal(3, said:recv())
    go:send "b"
    assert.equal(4, said:recv())
    go:send "c"
    go:send "d"
    for i = 1, 4 do assert.equal(i, (futures[i]:await())) end
  end)

  it("starts workers only when they are needed", function()
    local pool <close> = thread.ThreadPoolExecutor(5)
    local idle = thread.Channel()
    local function job() -- says so when its worker has looked for the next one
      neap.create_task(function()
        for _ = 1, 8 do neap.sleep(0) end
        idle:send(true)
      end)
    end
    assert.matches("0 of 5 workers", tostring(pool))
    for _ = 1, 6 do
      pool:submit(job):await()
      idle:recv()
      assert.matches("1 of 5 workers", tostring(pool))
    end
  end)

  it("lets calls wait", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    assert.equal("slept", pool:submit(function() neap.sleep(0.001); return "slept" end):await())
  end)

  it("ships a function once, as long as its upvalues are the same", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local count, step = 0, 1
    local function up() count = count + step; return count end
    assert.equal(1, pool:submit(up):await())
    assert.equal(2, pool:submit(up):await()) -- it goes on where it was
    step = 10
    assert.equal(10, pool:submit(up):await())
    assert.equal(0, count)
  end)

  it("forgets functions when there are too many", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    for i = 1, 600 do
      assert.equal(i, pool:submit(function() return i end):await())
    end
  end)

  it("raises errors with both tracebacks", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local function deep() error "boom" end
    local task = neap.create_task(function() pool:submit(function() deep() end):await() end)
    neap.wait { task }
    assert.matches("boom", task:exception())
    assert.matches("in upvalue 'deep'.*in thread 'pool%-%d+%-1'.*in method 'await'",
      task:traceback())
  end)

  it("raises the same kinds of errors", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local future = pool:submit(function() neap.wait_for(neap.Future(), 0.001) end)
    assert.is_true(neap.TimeoutError:is(catch(future.await, future)))
  end)

  it("refuses what cannot cross", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local err = catch(function() pool:submit(print, 1, { x = coroutine.create(print) }) end)
    assert.matches("^spec/thread_pool_spec%.lua:%d+: argument 3%.x: a coroutine", err)
    err = catch(neap.to_thread, print, coroutine.create(print))
    assert.matches("argument 2: a coroutine", err)
    local co = coroutine.create(print)
    assert.matches("argument 1", catch(pool.submit, pool, function() return co end))
    assert.matches("function expected, got nil", catch(pool.submit, pool))
    assert.equal(1, pool:submit(math.abs, -1):await())
  end)

  it("fails where the results cannot cross", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local future = pool:submit(function() return coroutine.create(print) end)
    assert.matches("result 1: a coroutine", catch(future.await, future))
    assert.equal(1, pool:submit(math.abs, -1):await())
  end)
end)

describe("cancelling a Future", function()
  it("takes a call that has not begun out of the queue", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local said, go, wait = gate()
    local first = pool:submit(wait, "first")
    local second, third = pool:submit(wait, "second"), pool:submit(wait, "third")
    assert.equal("first", said:recv())
    assert.matches("2 jobs queued", tostring(pool))
    assert.is_true(second:cancel())
    assert.matches("1 jobs queued", tostring(pool))
    go:send(1)
    assert.equal("third", said:recv())
    go:send(3)
    neap.wait { first, third }
    assert.is_true(second:cancelled())
    assert.is_nil((said:try_recv()))
  end)

  it("cancels one that waits, where it waits", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local said = thread.Channel()
    local future = pool:submit(function()
      local guard <close> = setmetatable({}, { __close = function() said:send "closed" end }) -- luacheck: ignore
      said:send "ready"
      neap.Future():await()
    end)
    said:recv()
    future:cancel()
    assert.equal("closed", said:recv())
    assert.equal(1, pool:submit(math.abs, -1):await())
  end)

  it("drops the result of one that does not wait", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local said, go = thread.Channel(), thread.Buffer "\0"
    local future = pool:submit(function()
      said:send "ready"
      while go:sub(1, 1) == "\0" do end
      return "late"
    end)
    said:recv()
    future:cancel()
    go:write(1, "x")
    assert.is_true(neap.CancelledError:is(catch(future.await, future)))
    assert.equal(1, pool:submit(math.abs, -1):await())
  end)

  it("comes with a time-out around it", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local err = catch(neap.wait_for, pool:submit(function() neap.Future():await() end), 0.005)
    assert.is_true(neap.TimeoutError:is(err))
    assert.equal(1, pool:submit(math.abs, -1):await())
  end)
end)

describe("map", function()
  it("gives results in order, from few calls at a time", function()
    local pool <close> = thread.ThreadPoolExecutor(3)
    local list, results = {}, {}
    for i = 1, 50 do list[i] = i end
    for r in pool:map(function(i) return i * i end, list, { in_flight = 4 }) do
      results[#results + 1] = r
    end
    assert.equal(50, #results)
    for i = 1, 50 do assert.equal(i * i, results[i]) end
  end)

  it("raises an error in its place", function()
    local pool <close> = thread.ThreadPoolExecutor(2)
    local got = {}
    local err = catch(function()
      for r in pool:map(function(i) if i == 3 then error { at = i } end; return i end,
        { 1, 2, 3, 4, 5, 6 })
      do
        got[#got + 1] = r
      end
    end)
    assert.same({ at = 3 }, err)
    assert.same({ 1, 2 }, got)
  end)

  it("takes an iterator, and is left early", function()
    local pool <close> = thread.ThreadPoolExecutor(2)
    local n = 0
    for r in pool:map(function(i) return i end, function() n = n + 1; return n end) do
      if r == 10 then break end
    end
    assert.is_true(n < 20)
  end)
end)

describe("shutdown", function()
  it("lets what is queued be done, and takes no more", function()
    local pool = thread.ThreadPoolExecutor(1)
    local said, go, wait = gate()
    local a, b = pool:submit(wait, 1), pool:submit(math.abs, -2)
    said:recv()
    pool:shutdown(false)
    assert.matches("cannot schedule new futures after shutdown",
      tostring(catch(pool.submit, pool, print)))
    go:send "x"
    pool:shutdown(true)
    assert.is_true(a:done() and b:done())
    assert.equal(2, b:result())
    assert.matches("shut down, 0 of 1 workers", tostring(pool))
    pool:shutdown(true)
  end)

  it("cancels what has not begun, where asked to", function()
    local pool = thread.ThreadPoolExecutor(1)
    local said, go, wait = gate()
    local a, b = pool:submit(wait, 1), pool:submit(math.abs, -2)
    said:recv()
    pool:shutdown(false, { cancel_futures = true })
    helper.settle()
    assert.is_true(b:cancelled())
    go:send "x"
    pool:shutdown()
    assert.equal(1, (a:result()))
  end)

  it("comes at the end of a block; an error there cancels what runs", function()
    local future
    local err = catch(function()
      local pool <close> = thread.ThreadPoolExecutor(1)
      future = pool:submit(function() neap.Future():await() end)
      error("out", 0)
    end)
    assert.equal("out", err)
    assert.is_true(future:cancelled())
  end)

  it("in a loop callback changes nothing", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local err
    neap.get_event_loop():call_soon(function() err = catch(pool.shutdown, pool) end)
    helper.settle()
    assert.matches("cannot wait in 'shutdown' inside a loop callback", err)
    assert.equal(1, pool:submit(math.abs, -1):await())
  end)

  it("checks its arguments", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    assert.matches("boolean expected", catch(pool.shutdown, pool, 1))
    assert.matches("unknown option 'x'", catch(pool.shutdown, pool, true, { x = 1 }))
    for _, name in ipairs { "submit", "map", "shutdown" } do
      assert.matches("bad argument #1 to '" .. name
        .. "' %(.*ThreadPoolExecutor expected, got nil%)",
        catch(pool[name]))
    end
  end)
end)

describe("a worker that ends", function()
  for name, fn in pairs {
    ["stopping its loop"] = function()
      neap.get_running_loop():stop()
      neap.Future():await()
    end,
  } do
    it(name .. " fails the call that it had, and is replaced", function()
      local pool <close> = thread.ThreadPoolExecutor(1)
      local a, b = pool:submit(fn), pool:submit(math.abs, -1)
      local err = catch(a.await, a)
      assert.is_true(neap.CancelledError:is(err) or neap.BrokenExecutor:is(err))
      assert.equal(1, b:await())
      assert.equal(2, pool:submit(math.abs, -2):await())
    end)
  end

  it("by running out of memory fails only that call", function()
    local pool <close> = thread.ThreadPoolExecutor { workers = 1, memory_limit = 4000000 }
    local a = pool:submit(function() return #string.rep("x", 100000000) end)
    assert.matches("not enough memory", tostring(catch(a.await, a)))
    assert.equal(1, pool:submit(math.abs, -1):await())
  end)
end)

describe("pools and loops", function()
  it("a pool serves one loop after another", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local function use(n)
      local loop = neap.new_event_loop()
      local result = loop:run_until_complete(function() return pool:submit(math.abs, n):await() end)
      loop:close()
      return result
    end
    assert.equal(1, use(-1))
    assert.equal(2, use(-2))
    assert.equal(3, pool:submit(math.abs, -3):await())
  end)

  it("a loop that closes cancels what it waits for", function()
    local pool <close> = thread.ThreadPoolExecutor(1)
    local loop = neap.new_event_loop()
    local future
    loop:run_until_complete(function()
      future = pool:submit(function() neap.Future():await() end)
      pool:submit(math.abs, -1)
      neap.sleep(0.001)
    end)
    loop:close()
    assert.is_true(future:cancelled())
    assert.equal(3, pool:submit(math.abs, -3):await())
  end)

  it("a pool that is garbage ends its threads", function()
    local pool = thread.ThreadPoolExecutor(1)
    local loop = pool:submit(neap.get_running_loop):await()
    pool = nil -- luacheck: ignore
    for _ = 1, 1000 do
      collectgarbage()
      if loop:is_closed() then break end
      neap.sleep(0.001)
    end
    assert.is_true(loop:is_closed())
    neap.sleep(0.001)
  end)
end)

describe("neap.to_thread", function()
  it("gives the results, and leaves the loop free", function()
    local said, go, wait = gate()
    local task = neap.create_task(neap.to_thread, wait, "in")
    assert.equal("in", said:recv())
    go:send "out"
    assert.same({ "in", "out" }, { task:await() })
  end)

  it("works in the main chunk and in tasks", function()
    assert.equal(4, neap.to_thread(math.abs, -4))
    assert.equal(4, helper.in_task(neap.to_thread, math.abs, -4))
    assert.matches("boom", catch(neap.to_thread, error, "boom"))
  end)

  it("is cancelled", function()
    local task = neap.create_task(neap.to_thread, function() neap.Future():await() end)
    neap.sleep(0.001)
    task:cancel()
    neap.wait { task }
    assert.is_true(task:cancelled())
  end)

  it("checks its arguments", function()
    assert.matches("function expected", catch(neap.to_thread, 1))
    assert.matches("value expected", catch(neap.to_thread))
    local err
    neap.get_event_loop():call_soon(function() err = catch(neap.to_thread, print) end)
    helper.settle()
    assert.matches("cannot wait in 'neap.to_thread' inside a loop callback", err)
  end)
end)

it("loop:run_in_executor uses the loop's own threads, or what is given", function()
  local loop = neap.get_event_loop()
  assert.equal(2, loop:run_in_executor(nil, math.abs, -2):await())
  local pool <close> = thread.ThreadPoolExecutor(1)
  assert.equal(3, loop:run_in_executor(pool, math.abs, -3):await())
  assert.matches("executor expected", catch(loop.run_in_executor, loop, 5, print))
end)

it("ThreadPoolExecutor checks its arguments", function()
  assert.matches("integer of 1 or more", catch(thread.ThreadPoolExecutor, 0))
  assert.matches("integer of 1 or more", catch(thread.ThreadPoolExecutor, 1.5))
  assert.matches("unknown option 'size'", catch(thread.ThreadPoolExecutor, { size = 1 }))
  assert.matches("option 'name'", catch(thread.ThreadPoolExecutor, { name = 1 }))
  assert.matches("^<ThreadPoolExecutor, 0 of %d+ workers", tostring(thread.ThreadPoolExecutor()))
end)
