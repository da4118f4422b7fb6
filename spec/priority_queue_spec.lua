--- PriorityQueue. What all queues have in common is in queue_spec.lua.

local neap = require "neap"
local helper = require "spec.helper"
local start = helper.start

local catch, settle = helper.catch, helper.settle

local function drain(queue)
  local list = {}
  while not queue:empty() do list[#list + 1] = queue:get_nowait() end
  return list
end

local function by_priority(a, b) return a[1] < b[1] end

local function new_random(seed)
  local state = seed
  return function(n)
    state = state * 6364136223846793005 + 1442695040888963407
    return (state >> 33) % n + 1
  end
end

describe("a priority queue", function()
  it("gives out the lowest item first", function()
    local queue = neap.PriorityQueue()
    for _, item in ipairs { 5, 3, 8, 1, 9, 2 } do queue:put(item) end
    assert.same({ 1, 2, 3, 5, 8, 9 }, drain(queue))
    for _, item in ipairs { "pear", "apple", "fig" } do queue:put(item) end
    assert.same({ "apple", "fig", "pear" }, drain(queue))
  end)

  it("asks a function of the program's", function()
    local queue = neap.PriorityQueue(0, function(a, b) return a > b end)
    for i = 1, 10 do queue:put(i * 7 % 11) end
    assert.same({ 10, 9, 8, 7, 6, 5, 4, 3, 2, 1 }, drain(queue))
    local callable = setmetatable({}, { __call = function(_, a, b) return a > b end })
    queue = neap.PriorityQueue(nil, callable)
    for i = 1, 3 do queue:put(i) end
    assert.same({ 3, 2, 1 }, drain(queue))
  end)

  it("uses __lt where there is no function", function()
    local mt = { __lt = function(a, b) return a.n < b.n end }
    local queue = neap.PriorityQueue()
    for _, n in ipairs { 3, 1, 2 } do queue:put(setmetatable({ n = n }, mt)) end
    assert.same({ 1, 2, 3 }, { queue:get().n, queue:get().n, queue:get().n })
  end)

  it("gives out equal items in the order of putting, whatever happens between", function()
    for seed = 1, helper.many(1000) // 20 do
      local random = new_random(seed)
      local queue, model, serial = neap.PriorityQueue(0, by_priority), {}, 0
      for _ = 1, 300 do
        if #model == 0 or random(10) <= 6 then
          serial = serial + 1
          local item = { random(5), serial }
          queue:put(item)
          local at = #model + 1
          while at > 1 and item[1] < model[at - 1][1] do at = at - 1 end
          table.insert(model, at, item)
        elseif queue:get() ~= table.remove(model, 1) then
          error("wrong item with seed " .. seed)
        end
      end
      assert.same(model, drain(queue))
    end
  end)

  it("sorts many, and gives memory back", function()
    local random, queue, n = new_random(7), neap.PriorityQueue(), helper.many(20000)
    for _ = 1, n do queue:put(random(1000)) end
    local last = 0
    for _ = 1, n do
      local item = queue:get()
      if item < last then error "wrong order" end
      last = item
    end
    assert.is_true(queue:empty())
    queue:put(1)
    assert.equal(1, queue:get())
  end)

  it("takes nil where the function does", function()
    local queue = neap.PriorityQueue(0, function(a, b) return (a or 0) < (b or 0) end)
    queue:put(2)
    queue:put(nil)
    queue:put(-1)
    assert.matches("nil item", (function()
      queue:get()
      return catch(queue:iter())
    end)())
    assert.is_nil(queue:get())
    assert.equal(2, queue:get())
    queue = neap.PriorityQueue()
    queue:put(nil) -- alone it is compared with nothing
    assert.is_nil(queue:get())
  end)

  it("gives a woken getter the lowest item of the moment, as asyncio does", function()
    local queue = neap.PriorityQueue()
    local task = neap.create_task(queue.get, queue)
    settle()
    queue:put(2)
    queue:put(1)
    settle()
    assert.equal(1, task:result())
    assert.equal(2, queue:get())
  end)

  it("has a limit, and putters that wait", function()
    local queue = neap.PriorityQueue(2)
    queue:put(3)
    queue:put(2)
    assert.is_true(neap.QueueFull:is(catch(queue.put_nowait, queue, 0)))
    for _, item in ipairs { 5, 1, 4 } do start(queue.put, queue, item) end
    settle()
    assert.equal("<PriorityQueue maxsize=2 items=2 putters=3 unfinished=2>", tostring(queue))
    local got = {}
    for i = 1, 5 do
      got[i] = queue:get()
      settle()
    end
    assert.same({ 2, 3, 1, 4, 5 }, got)
  end)

  describe("whose function raises", function()
    local function picky(a, b)
      if a == "bad" or b == "bad" then error("cannot compare", 0) end
      return a < b
    end

    it("does not put the item in", function()
      local queue = neap.PriorityQueue(0, picky)
      for _, i in ipairs { 2, 1, 3 } do queue:put(i) end
      assert.equal("cannot compare", catch(queue.put, queue, "bad"))
      assert.equal("cannot compare", catch(queue.put_nowait, queue, "bad"))
      assert.matches("attempt to compare", (function()
        local plain = neap.PriorityQueue()
        plain:put(1)
        return catch(plain.put, plain, {})
      end)())
      assert.equal("<PriorityQueue maxsize=0 items=3 unfinished=3>", tostring(queue))
      assert.same({ 1, 2, 3 }, drain(queue))
    end)

    it("leaves everything in that was to be taken", function()
      local angry = false
      local queue = neap.PriorityQueue(0, function(a, b)
        if angry then error("not now", 0) end
        return a < b
      end)
      for i = 1, 20 do queue:put(i * 7 % 23) end
      angry = true
      for _ = 1, 3 do assert.equal("not now", catch(queue.get, queue)) end
      angry = false
      assert.equal(20, queue:qsize())
      local list = drain(queue)
      local sorted = table.move(list, 1, #list, 1, {})
      table.sort(sorted)
      assert.equal(20, #list)
      assert.same(sorted, list)
    end)

    it("at any comparison, keeps its order", function()
      for moment = 1, 30 do
        local count, limit = 0, math.huge
        local queue = neap.PriorityQueue(0, function(a, b)
          count = count + 1
          if count == limit then error("now", 0) end
          return a < b
        end)
        local model = {}
        for i = 1, 12 do
          queue:put(i * 5 % 13)
          model[i] = i
        end
        limit = count + moment
        for _ = 1, 6 do
          if pcall(queue.get_nowait, queue) then table.remove(model, 1) end
          if pcall(queue.put_nowait, queue, 0) then table.insert(model, 1, 0) end
        end
        assert.same(model, drain(queue))
      end
    end)

    it("in a getter that was woken lets the next one have the item #ordered", function()
      local angry = false
      local queue = neap.PriorityQueue(0, function(a, b)
        if angry then
          angry = false
          error("not now", 0)
        end
        return a < b
      end)
      local tasks = {}
      for i = 1, 4 do tasks[i] = neap.create_task(queue.get, queue) end
      settle()
      for _, item in ipairs { 3, 1, 2 } do queue:put(item) end
      angry = true
      settle()
      assert.equal("not now", tasks[1]:exception())
      assert.same({ 1, 2, 3 }, { tasks[2]:result(), tasks[3]:result(), tasks[4]:result() })
    end)

    it("in a putter that was woken lets the next one have the place", function()
      local queue = neap.PriorityQueue(2, picky)
      queue:put(1)
      queue:put(2)
      local bad = start(queue.put, queue, "bad")
      local good = start(queue.put, queue, 0)
      settle()
      assert.equal(1, queue:get())
      settle()
      assert.equal("cannot compare", bad:exception())
      assert.is_true(good:done())
      assert.same({ 0, 2 }, drain(queue))
    end)
  end)

  describe("whose function uses the very queue", function()
    it("is not damaged", function()
      for _, act in ipairs {
        function(queue) pcall(queue.get_nowait, queue) end,
        function(queue) pcall(queue.put_nowait, queue, 50) end,
        function(queue) for i = 1, 40 do pcall(queue.put_nowait, queue, i) end end,
        function(queue) while pcall(queue.get_nowait, queue) do end end, -- luacheck: ignore
      } do
        for moment = 1, 12 do
          local count, depth, queue = 0, 0, nil
          queue = neap.PriorityQueue(100, function(a, b)
            count = count + 1
            if count == moment and depth == 0 then
              depth = 1
              act(queue)
              depth = 0
            end
            return a < b
          end)
          for i = 1, 8 do pcall(queue.put, queue, i * 3 % 10) end
          for _ = 1, 4 do pcall(queue.get_nowait, queue) end
          local n, list = queue:qsize(), drain(queue)
          assert.equal(n, #list)
          for i = 2, n do assert.is_true(list[i - 1] <= list[i]) end
        end
      end
    end)

    it("always, is told so", function()
      local queue, inside
      queue = neap.PriorityQueue(0, function(a, b)
        if not inside then
          inside = true
          queue:put_nowait(a)
          inside = false
        end
        return a < b
      end)
      queue:put(1)
      assert.matches("the PriorityQueue is changed by comparing its items",
        catch(queue.put, queue, 2))
      inside = true
      local before = queue:qsize()
      assert.equal(before, #drain(queue))
    end)

    it("may shut it down", function()
      for _, immediate in ipairs { false, true } do
        local queue
        queue = neap.PriorityQueue(0, function(a, b)
          queue:shutdown(immediate)
          return a < b
        end)
        queue:put(1)
        assert.is_true(neap.QueueShutDown:is(catch(queue.put, queue, 2)))
        assert.equal(immediate and 0 or 1, queue:qsize())
      end
    end)
  end)

  it("cannot wait in its function", function()
    local queue = neap.PriorityQueue(0, function(a, b)
      neap.sleep(0)
      return a < b
    end)
    queue:put(1)
    local err = helper.catch_in_task(function() queue:put(2) end)
    assert.matches("cannot wait in 'neap.sleep' here: Lua cannot suspend a task inside", err)
    assert.matches("'put'", err)
    assert.same({ 1 }, drain(queue))
  end)

  it("loses nothing to cancellations", function()
    for seed = 1, helper.many(600) // 20 do
      local random = new_random(seed)
      local queue = neap.PriorityQueue(random(3))
      local put, got, tasks, serial = {}, {}, {}, 0
      for step = 1, 80 do
        tasks[step] = neap.create_task(function()
          for _ = 1, random(3) do
            if step % 2 == 0 then
              serial = serial + 1
              local item = random(9) * 10000 + serial
              queue:put(item)
              put[item] = true
            else
              local item = queue:get()
              assert(not got[item], "twice")
              got[item] = true
            end
            if random(3) == 1 then neap.sleep(0) end
          end
        end)
        if random(3) == 1 then tasks[random(step)]:cancel() end
        if random(2) == 1 then neap.sleep(0) end
      end
      settle(400)
      for _ = 1, 200 do
        while not queue:empty() do got[queue:get_nowait()] = true end
        settle(2)
      end
      for _, task in ipairs(tasks) do task:cancel() end
      settle()
      assert.same(put, got)
    end
  end)

  it("refuses bad arguments", function()
    assert.matches("bad argument #1 to 'PriorityQueue'",
      catch(function() neap.PriorityQueue(print) end))
    assert.matches("bad argument #2 to 'PriorityQueue' %(function expected",
      catch(function() neap.PriorityQueue(1, 2) end))
  end)
end)
