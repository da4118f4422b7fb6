--- Queue and LifoQueue.

local neap = require "neap"
local helper = require "spec.helper"

local catch, in_task, settle, start = helper.catch, helper.in_task, helper.settle, helper.start
local getter, putter, drain = helper.getter, helper.putter, helper.drain

describe("a queue", function()
  it("gives out first what was put in first", function()
    local queue = neap.Queue()
    for i = 1, 5 do queue:put(i) end
    assert.same({ 1, 2, 3, 4, 5, n = 5 }, drain(queue))
    queue = neap.LifoQueue()
    for i = 1, 5 do queue:put(i) end
    assert.same({ 5, 4, 3, 2, 1, n = 5 }, drain(queue))
  end)

  it("keeps its order through many sizes", function()
    for _, new in ipairs { neap.Queue, neap.LifoQueue } do
      local queue, model, next_item = new(), {}, 1
      local random = 12345
      for _ = 1, helper.many(20000) do
        random = (random * 1103515245 + 12345) % 2 ^ 31 // 1 | 0
        local grow = (next_item // 3000) % 2 == 0
        if #model == 0 or (random >> 16) % 10 < (grow and 7 or 3) then
          queue:put(next_item)
          model[#model + 1] = next_item
          next_item = next_item + 1
        else
          local expected = table.remove(model, new == neap.Queue and 1 or #model)
          if queue:get() ~= expected then error "wrong item" end
          next_item = next_item + 1
        end
        if queue:qsize() ~= #model then error "wrong size" end
      end
    end
  end)

  it("knows its size", function()
    local queue = neap.Queue(2)
    assert.same({ 0, true, false }, { queue:qsize(), queue:empty(), queue:full() })
    queue:put "a"
    assert.same({ 1, false, false }, { queue:qsize(), queue:empty(), queue:full() })
    queue:put "b"
    assert.same({ 2, false, true }, { queue:qsize(), queue:empty(), queue:full() })
    queue:get()
    assert.same({ 1, false, false }, { queue:qsize(), queue:empty(), queue:full() })
  end)

  it("has no limit without maxsize, or with one of 0 or less", function()
    for _, queue in ipairs { neap.Queue(), neap.Queue(nil), neap.Queue(0), neap.Queue(-3),
      neap.LifoQueue(), neap.PriorityQueue() } do
      for i = 1, 1000 do queue:put_nowait(i) end
      assert.is_false(queue:full())
      assert.equal(1000, queue:qsize())
    end
  end)

  it("takes any value, nil included", function()
    local queue, table_, co = neap.Queue(), {}, coroutine.create(print)
    local values = table.pack(nil, false, 0, "", table_, co, nil, print, nil)
    for i = 1, values.n do queue:put(values[i]) end
    assert.equal(9, queue:qsize())
    for i = 1, values.n do assert.equal(values[i], queue:get()) end
    assert.is_true(queue:empty())
    assert.equal(1, select("#", (function() queue:put(nil) return queue:get() end)()))
  end)

  it("raises QueueEmpty and QueueFull where it may not wait", function()
    local queue = neap.Queue(1)
    assert.is_true(neap.QueueEmpty:is(catch(queue.get_nowait, queue)))
    queue:put_nowait(1)
    assert.is_true(neap.QueueFull:is(catch(queue.put_nowait, queue, 2)))
    assert.equal(1, queue:get_nowait())
    assert.is_true(neap.QueueEmpty:is(catch(queue.get_nowait, queue)))
  end)

  it("costs no turn when there is something, and room", function()
    local queue, other_ran = neap.Queue(3), false
    in_task(function()
      neap.create_task(function() other_ran = true end)
      for i = 1, 100 do
        queue:put(i)
        queue:get()
      end
      assert.is_false(other_ran)
    end)
  end)

  it("lets getters wait, and serves them in the order of arrival #ordered", function()
    local queue, log, add = neap.Queue(), helper.log()
    for i = 1, 3 do getter(queue, add, i .. ":") end
    settle()
    assert.same({}, log)
    for _, item in ipairs { "a", "b", "c" } do queue:put(item) end
    settle()
    assert.same({ "1:a", "2:b", "3:c" }, log)
  end)

  it("lets putters wait, and serves them in the order of arrival #ordered", function()
    local queue, log, add = neap.Queue(1), helper.log()
    queue:put(0)
    for i = 1, 3 do putter(queue, i, add) end
    settle()
    assert.same({}, log)
    for i = 0, 3 do
      assert.equal(i, queue:get())
      settle()
    end
    assert.same({ "put 1", "put 2", "put 3" }, log)
  end)

  it("hands over in asyncio's order", function()
    -- The same program in Python prints the same.
    local queue, log, add = neap.Queue(2), helper.log()
    neap.gather(function()
      for i = 1, 6 do
        queue:put(i)
        add("put " .. i .. " " .. queue:qsize())
      end
    end, function()
      for _ = 1, 6 do
        local item = queue:get()
        add("got " .. item .. " " .. queue:qsize())
      end
    end)
    assert.same({
      "put 1 1", "put 2 2", "got 1 1", "got 2 0", "put 3 1", "put 4 2", "got 3 1", "got 4 0",
      "put 5 1", "put 6 2", "got 5 1", "got 6 0",
    }, log)
  end)

  it("looks like asyncio's between a put and the getter's turn", function()
    local queue, log, add = neap.Queue(1), helper.log()
    getter(queue, add)
    settle()
    queue:put "a"
    assert.same({ 1, false, true }, { queue:qsize(), queue:empty(), queue:full() })
    assert.equal("<Queue maxsize=1 items=1 unfinished=1>", tostring(queue))
    settle()
    assert.same({ 0, true, false, "a" }, { queue:qsize(), queue:empty(), queue:full(), log[1] })
    queue:put "b"
    putter(queue, "c")
    settle()
    assert.equal("b", queue:get())
    assert.same({ 0, true, false }, { queue:qsize(), queue:empty(), queue:full() })
    settle()
    assert.same({ 1, false, true }, { queue:qsize(), queue:empty(), queue:full() })
  end)

  it("keeps an item for the getter it woke #ordered", function()
    local queue, log, add = neap.Queue(), helper.log()
    getter(queue, add, "waiter ")
    settle()
    queue:put "a"
    assert.is_true(neap.QueueEmpty:is(catch(queue.get_nowait, queue)))
    getter(queue, add, "newcomer ")
    neap.create_task(function()
      queue:put "b"
      add "put b"
    end)
    settle()
    assert.same({ "waiter a", "put b", "newcomer b" }, log)
  end)

  it("gives a newcomer what nobody who waited is to have", function()
    local queue, log, add = neap.Queue(), helper.log()
    getter(queue, add)
    settle()
    queue:put "a"
    queue:put "b"
    assert.equal("a", queue:get_nowait()) -- as asyncio: the first item to who takes first
    assert.is_true(neap.QueueEmpty:is(catch(queue.get_nowait, queue)))
    settle()
    assert.same({ "b" }, log)
  end)

  it("keeps a place for the putter it woke", function()
    local queue, log, add = neap.Queue(1), helper.log()
    queue:put "a"
    putter(queue, "b", add)
    settle()
    assert.equal("a", queue:get())
    assert.is_false(queue:full())
    assert.is_true(neap.QueueFull:is(catch(queue.put_nowait, queue, "c")))
    putter(queue, "c", add)
    settle()
    assert.equal("b", queue:get())
    settle()
    assert.equal("c", queue:get())
    assert.same({ "put b", "put c" }, log)
  end)

  it("is shared fairly by those who do nothing else", function()
    local queue, turns = neap.Queue(1), {}
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = start(function()
        for _ = 1, 4 do queue:put(i) end
      end)
    end
    settle()
    for k = 1, 12 do turns[k] = queue:get() end
    assert.same({ 1, 1, 2, 3, 1, 2, 3, 1, 2, 3, 2, 3 }, turns)
    neap.gather(tasks)
  end)

  describe("joined", function()
    it("waits until all work is done", function()
      local queue, log, add = neap.Queue(), helper.log()
      queue:join()
      queue:put(1)
      queue:put(2)
      local task = neap.create_task(function()
        queue:join()
        add "joined"
      end)
      settle()
      queue:get()
      queue:get()
      settle()
      queue:task_done()
      settle()
      assert.same({}, log)
      queue:task_done()
      queue:put(3) -- comes too late for who waited
      settle()
      assert.same({ "joined" }, log)
      assert.is_true(task:done())
    end)

    it("counts what is put in by those who waited for a place", function()
      local queue = neap.Queue(1)
      queue:put(1)
      putter(queue, 2)
      settle()
      queue:get()
      settle()
      queue:task_done()
      assert.matches("unfinished=1", tostring(queue))
      queue:task_done()
      queue:join()
    end)

    it("raises when task_done is called too often", function()
      local queue = neap.Queue()
      local text = "task_done%(%) called too many times"
      assert.matches(text, catch(queue.task_done, queue))
      queue:put(1)
      queue:task_done()
      assert.matches(text, catch(queue.task_done, queue))
    end)

    it("may be cancelled", function()
      local queue = neap.Queue()
      queue:put(1)
      local a = neap.create_task(queue.join, queue)
      local b = neap.create_task(queue.join, queue)
      settle()
      a:cancel()
      queue:task_done()
      settle()
      assert.is_true(a:cancelled())
      assert.is_true(b:done() and not b:cancelled())
    end)
  end)

  it("raises a swallowed cancellation again, also where it need not wait", function()
    local queue = neap.Queue()
    queue:put(1)
    for _, method in ipairs { "get", "put", "join", "iter" } do
      local task = neap.create_task(function()
        pcall(neap.sleep, 3600)
        if method == "iter" then return queue:iter()() end
        if method == "join" then return neap.Queue():join() end
        return queue[method](queue, 2)
      end)
      settle()
      task:cancel()
      settle()
      assert.is_true(task:cancelled(), method)
    end
    assert.equal(1, queue:qsize())
  end)

  it("works at top level", function()
    local queue = neap.Queue(1)
    local loop = neap.get_event_loop()
    loop:call_soon(queue.put_nowait, queue, "a")
    assert.equal("a", queue:get())
    queue:put(1)
    loop:call_soon(queue.get_nowait, queue)
    queue:put(2)
    assert.equal(1, queue:qsize())
    loop:call_soon(queue.task_done, queue)
    loop:call_soon(queue.task_done, queue)
    loop:call_soon(queue.task_done, queue)
    queue:join()
  end)

  it("works in a generator", function()
    local queue = neap.Queue()
    local task = neap.create_task(function()
      local got = {}
      for item in coroutine.wrap(function()
        for _ = 1, 3 do coroutine.yield(queue:get()) end
        for item in queue:iter() do coroutine.yield(item) end
      end) do
        got[#got + 1] = item
      end
      return got
    end)
    for i = 1, 5 do
      settle(2)
      queue:put(i)
    end
    settle(2)
    queue:shutdown()
    assert.same({ 1, 2, 3, 4, 5 }, task:await())
  end)

  it("that nobody fills is a deadlock at top level", function()
    local queue = neap.Queue(1)
    local err = catch(queue.get, queue)
    assert.is_true(neap.DeadlockError:is(err))
    assert.matches("waits in 'Queue:get'", err.message)
    queue:put(1)
    assert.matches("waits in 'Queue:put'", catch(queue.put, queue, 2).message)
    assert.matches("waits in 'Queue:join'.* for <Queue maxsize=1 items=1 unfinished=1>",
      catch(queue.join, queue).message)
    assert.equal("<Queue maxsize=1 items=1 unfinished=1>", tostring(queue))
    assert.equal(1, queue:get())
  end)

  it("can be used from callbacks as long as that does not wait", function()
    local queue, results = neap.Queue(1), {}
    neap.get_event_loop():call_soon(function()
      queue:put "a"
      results[1] = queue:get()
      results[2] = select(2, pcall(queue.get, queue))
    end)
    settle()
    assert.equal("a", results[1])
    assert.matches("cannot wait in 'Queue:get' inside a loop callback", results[2])
  end)

  it("has no trouble with a hundred thousand waiters", function()
    local n = helper.many(100000)
    local queue, sum, full = neap.Queue(), 0, neap.Queue(1)
    local tasks = {}
    for i = 1, n do
      tasks[i] = start(function()
        local item = queue:get()
        sum = sum + item
      end)
    end
    settle(2)
    assert.matches("getters=" .. n, tostring(queue))
    for i = 2, n, 2 do tasks[i]:cancel() end
    for i = 1, n do queue:put(i) end
    settle(4)
    local served = n // 2
    assert.equal(served * (served + 1) // 2, sum)
    assert.equal(n - served, queue:qsize())
    full:put(0)
    for i = 1, n do start(full.put, full, i) end
    settle(2)
    assert.matches("putters=" .. n, tostring(full))
    for i = 0, n do
      if full:get() ~= i then error "wrong order" end
    end
    settle(2)
    assert.is_true(full:empty())
  end)

  it("gives memory back after it was huge, and lets go of what was in it", function()
    local queue = neap.Queue()
    local function used()
      collectgarbage()
      collectgarbage()
      return collectgarbage "count"
    end
    local before = used()
    for i = 1, 200000 do queue:put(i) end
    assert.is_true(used() - before > 3000)
    for _ = 1, 199990 do queue:get() end
    assert.is_true(used() - before < 100)
    assert.equal(199991, queue:get())
    local weak = setmetatable({}, { __mode = "v" })
    weak[1] = {}
    queue:put(weak[1])
    for _ = 1, 10 do queue:get() end
    used()
    assert.is_nil(weak[1])
  end)

  it("may be used by finalizers that run as it grows and shrinks", function()
    local function above(a, b) return ("%09d"):format(a) > ("%09d"):format(b) end
    for _, queue in ipairs { neap.Queue(), neap.LifoQueue(), neap.PriorityQueue(0, above) } do
      local put, got, n = 0, 0, helper.many(5000)
      local function litter(fn) setmetatable({}, { __gc = fn }) end
      for i = 1, n do
        litter(function()
          queue:put_nowait(i)
          put = put + 1
        end)
        if i % 3 == 0 then
          litter(function()
            if pcall(queue.get_nowait, queue) then got = got + 1 end
          end)
        end
        queue:put(i)
        put = put + 1
      end
      while queue:qsize() > 10 do
        litter(function()
          if pcall(queue.get_nowait, queue) then got = got + 1 end
        end)
        queue:get()
        got = got + 1
      end
      collectgarbage()
      assert.equal(put - got, queue:qsize())
      while pcall(queue.get_nowait, queue) do got = got + 1 end
      assert.equal(put, got)
    end
  end)

  it("is not confused by a finalizer that fills it while it grows", function()
    for _, new in ipairs { neap.Queue, neap.LifoQueue, neap.PriorityQueue } do
      local queue, filled = new(), false
      for i = 1, 8 do queue:put(i) end -- the ninth needs a larger table
      collectgarbage()
      collectgarbage "stop"
      collectgarbage("incremental", 100, 1000, 24) -- the next step is a whole cycle
      setmetatable({}, { __gc = function()
        for i = 10, 59 do queue:put_nowait(i) end
        filled = true
      end })
      collectgarbage "restart"
      queue:put(9)
      collectgarbage("incremental", 200, 100, 13)
      assert.is_true(filled)
      local list = drain(queue)
      table.sort(list)
      for i = 1, 59 do assert.equal(i, list[i]) end
      assert.equal(59, list.n)
    end
  end)

  it("allocates nothing once it is going", function()
    local queue = neap.Queue(10)
    local function round(n)
      for i = 1, n do
        queue:put(i)
        queue:put(i)
        queue:get()
        queue:get()
      end
    end
    round(100)
    collectgarbage()
    collectgarbage "stop"
    local before = collectgarbage "count"
    round(10000)
    local grown = collectgarbage "count" - before
    collectgarbage "restart"
    assert.is_true(grown < 1)
  end)

  it("is safe where a loop closes with tasks that wait", function()
    local outer = neap.get_event_loop()
    local loop = neap.new_event_loop()
    loop:set_exception_handler(function() end)
    neap.set_event_loop(loop)
    local queue, full, log, add = neap.Queue(), neap.Queue(1), helper.log()
    full:put(0)
    loop:run_until_complete(function()
      for i = 1, 3 do
        neap.create_task(function()
          local _ <close> = setmetatable({}, { __close = function() add("get " .. i) end })
          queue:get()
        end)
        neap.create_task(full.put, full, i)
        neap.create_task(queue.join, full)
      end
    end)
    loop:call_soon(function()
      queue:put "a" -- woken, and never to run
      full:get()
      loop:stop()
    end)
    loop:run_forever()
    loop:close()
    neap.set_event_loop(outer)
    assert.equal(3, #log)
    assert.equal("<Queue maxsize=0 items=1 unfinished=1>", tostring(queue))
    assert.equal("a", queue:get_nowait())
    full:put_nowait "there is room"
  end)

  it("tells what it is", function()
    assert.equal("<Queue maxsize=0 items=0>", tostring(neap.Queue()))
    assert.equal("<LifoQueue maxsize=3 items=0>", tostring(neap.LifoQueue(3)))
    local queue = neap.Queue(1)
    local a, b = getter(queue, print), getter(queue, print)
    settle()
    assert.equal("<Queue maxsize=1 items=0 getters=2>", tostring(queue))
    a:cancel()
    b:cancel()
    settle()
    queue:put(1)
    a = putter(queue, 2)
    settle()
    assert.equal("<Queue maxsize=1 items=1 putters=1 unfinished=1>", tostring(queue))
    a:cancel()
  end)

  it("refuses bad arguments", function()
    assert.matches("bad argument #1 to 'Queue'", catch(function() neap.Queue "x" end))
    assert.matches("bad argument #1 to 'LifoQueue'", catch(function() neap.LifoQueue(1.5) end))
    local queue = neap.Queue()
    assert.matches("bad argument #1 to 'put' %(value expected%)", catch(function() queue:put() end))
    assert.matches("value expected", catch(function() queue:put_nowait() end))
    assert.matches("Queue expected", catch(queue.get, neap.Lock()))
    assert.matches("Queue expected", catch(queue.put, nil, 1))
    assert.matches("Queue expected", catch(queue.iter))
    assert.equal(0, queue:qsize())
  end)
end)
