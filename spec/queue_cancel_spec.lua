--- Queue and LifoQueue: waiters that are cancelled or out of time lose nothing.

local neap = require "neap"
local core = require "neap.core.test"
local helper = require "spec.helper"

local catch, settle, getter, putter = helper.catch, helper.settle, helper.getter, helper.putter
local drain = helper.drain

describe("a queue", function()
  describe("with a cancelled waiter", function()
    it("goes on without it #ordered", function()
      local queue, log, add = neap.Queue(), helper.log()
      local tasks = {}
      for i = 1, 5 do tasks[i] = getter(queue, add, i .. ":") end
      settle()
      for _, i in ipairs { 1, 3, 5 } do tasks[i]:cancel() end
      for _, item in ipairs { "a", "b", "c" } do queue:put(item) end
      settle()
      assert.same({ "2:a", "4:b" }, log)
      assert.equal("c", queue:get_nowait())
    end)

    it("passes an item on, in its place in the order #ordered", function()
      local queue, log, add = neap.Queue(), helper.log()
      local tasks = {}
      for i = 1, 3 do tasks[i] = getter(queue, add, i .. ":") end
      settle()
      queue:put "a"
      queue:put "b"
      tasks[1]:cancel()
      settle()
      assert.is_true(tasks[1]:cancelled())
      assert.same({ "2:a", "3:b" }, log)
      assert.is_true(queue:empty())
    end)

    it("keeps the item, in its place in the order, when nobody else waits", function()
      local queue, log, add = neap.Queue(), helper.log()
      local task = getter(queue, add)
      settle()
      for _, item in ipairs { "a", "b", "c" } do queue:put(item) end
      task:cancel()
      settle()
      assert.same({}, log)
      assert.same({ "a", "b", "c", n = 3 }, drain(queue))
    end)

    it("passes a place on #ordered", function()
      local queue, log, add = neap.Queue(1), helper.log()
      queue:put(0)
      local tasks = {}
      for i = 1, 3 do tasks[i] = putter(queue, i, add) end
      settle()
      queue:get()
      tasks[1]:cancel()
      settle()
      assert.same({ "put 2" }, log)
      assert.equal(2, queue:get())
      tasks[3]:cancel()
      settle()
      assert.is_true(tasks[3]:cancelled())
      assert.is_true(queue:empty())
      queue:put_nowait "free again"
    end)

    it("forgets a putter's item", function()
      local queue = neap.Queue(1)
      queue:put(1)
      local item = setmetatable({}, { __mode = "k" })
      local task = putter(queue, item)
      local weak = setmetatable({ item }, { __mode = "v" })
      item = nil -- luacheck: ignore
      settle()
      task:cancel()
      settle()
      task = nil -- luacheck: ignore
      collectgarbage()
      collectgarbage()
      assert.is_nil(weak[1])
      assert.same({ 1, n = 1 }, drain(queue))
    end)

    it("at every moment, one of many, loses nothing", function()
      for victim = 1, 4 do
        for moment = 0, 9 do
          for size = 1, 2 do
            local queue, got, put = neap.Queue(size), {}, {}
            local tasks, getters = {}, {}
            for i = 1, 4 do
              tasks[i] = neap.create_task(function()
                for k = 1, 3 do
                  queue:put(i * 10 + k)
                  put[#put + 1] = i * 10 + k
                end
              end)
              getters[i] = neap.create_task(function()
                while true do
                  local item = queue:get()
                  got[#got + 1] = item
                  if i % 2 == 0 then neap.sleep(0) end
                end
              end)
            end
            for turn = 0, 9 do
              if turn == moment then
                tasks[victim]:cancel()
                getters[victim]:cancel()
              end
              neap.sleep(0)
            end
            settle(30)
            for i = 1, 4 do
              assert.is_true(tasks[i]:done())
              getters[i]:cancel()
            end
            settle()
            assert.equal(0, queue:qsize())
            table.sort(got)
            table.sort(put)
            assert.same(put, got)
          end
        end
      end
    end)

    it("at random, many at a time, loses nothing and gives nothing twice", function()
      for seed = 1, helper.many(1000) // 20 do
        local state = seed
        local function random(n)
          state = (state * 6364136223846793005 + 1442695040888963407)
          return (state >> 33) % n + 1
        end
        local queue = (random(2) == 1 and neap.Queue or neap.LifoQueue)(random(4) - 1)
        local put, got, tasks, serial = {}, {}, {}, 0
        local function add_task()
          if random(2) == 1 then
            tasks[#tasks + 1] = neap.create_task(function()
              for _ = 1, random(5) do
                serial = serial + 1
                local item = serial
                queue:put(item)
                put[item] = true
                if random(3) == 1 then neap.sleep(0) end
              end
            end)
          else
            tasks[#tasks + 1] = neap.create_task(function()
              for _ = 1, random(5) do
                local item = queue:get()
                assert(not got[item], "twice")
                got[item] = true
                if random(3) == 1 then neap.sleep(0) end
              end
            end)
          end
        end
        for _ = 1, 60 do
          for _ = 1, random(3) do add_task() end
          if random(2) == 1 then tasks[random(#tasks)]:cancel() end
          if random(2) == 1 then neap.sleep(0) end
          if random(9) == 1 then
            local ok, item = pcall(queue.get_nowait, queue)
            if ok then got[item] = true end
          end
        end
        local rest = {}
        repeat -- those who still wait to put something in
          core.settle()
          local more = drain(queue)
          for i = 1, more.n do rest[#rest + 1] = more[i] end
        until more.n == 0
        for _, item in ipairs(rest) do
          assert(not got[item], "twice")
          got[item] = true
        end
        for _, task in ipairs(tasks) do task:cancel() end
        settle()
        assert.same(put, got)
      end
    end)
  end)

  it("lets go of those whose time is up", function()
    core.freeze(true)
    local _thaw <close> = setmetatable({}, { __close = core.thaw })
    local queue = neap.Queue(1)
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, queue.get, 5, queue)))
    queue:put(1)
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, queue.put, 5, queue, 2)))
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, queue.join, 5, queue)))
    assert.equal("<Queue maxsize=1 items=1 unfinished=1>", tostring(queue))
    assert.equal(1, neap.wait_for(queue.get, 5, queue))
  end)

  it("loses nothing when the time is up as something comes", function()
    core.freeze(true)
    local _thaw <close> = setmetatable({}, { __close = core.thaw })
    for _, first in ipairs { "time", "item" } do
      local queue, got = neap.Queue(), nil
      local function receive()
        return neap.create_task(function()
          local t <close> = neap.timeout(first == "time" and 1 or 1.0)
          got = queue:get()
          return t
        end)
      end
      local function send() neap.get_event_loop():call_later(1, queue.put_nowait, queue, "a") end
      local task
      if first == "time" then
        task = receive()
        settle()
        send()
      else
        send()
        task = receive()
      end
      neap.sleep(2)
      local lost = got == nil and queue:empty()
      assert.is_false(lost)
      assert.is_true(got == nil or queue:empty())
      assert.equal(got == nil, neap.TimeoutError:is(task:exception()))
    end
  end)

  it("in any order of what is ready, loses nothing and keeps the producers' order", function()
    for seed = 1, 30 do
      core.shuffle(seed)
      local _off <close> = setmetatable({}, { __close = function() core.shuffle() end })
      local queue, got, n = neap.Queue(seed % 4), {}, 0
      local consumers, producers = {}, {}
      for i = 1, 3 do
        consumers[i] = neap.create_task(function()
          for item in queue:iter() do
            n = n + 1
            -- An item leaves the queue before later ones of its producer do.
            got[item[1]] = (got[item[1]] or 0) + 1
            if got[item[1]] ~= item[2] then error "wrong order" end
            if i == 2 then neap.sleep(0) end
          end
        end)
        producers[i] = neap.create_task(function()
          for k = 1, 10 do queue:put { i, k } end
        end)
      end
      neap.gather(producers)
      queue:shutdown()
      neap.gather(consumers)
      assert.equal(30, n)
    end
  end)

  it("survives a cancellation in the turn in which it would hand over", function()
    local queue, log, add = neap.Queue(), helper.log()
    local tasks = {}
    for i = 1, 2 do tasks[i] = getter(queue, add, i .. ":") end
    settle()
    local loop = neap.get_event_loop()
    loop:call_soon(queue.put_nowait, queue, "a")
    loop:call_soon(tasks[1].cancel, tasks[1])
    settle()
    assert.same({ "2:a" }, log)
    queue = neap.Queue()
    tasks[1] = getter(queue, add, "1:")
    settle()
    loop:call_soon(tasks[1].cancel, tasks[1]) -- the other way round
    loop:call_soon(queue.put_nowait, queue, "b")
    settle()
    assert.equal("b", queue:get_nowait())
  end)
end)
