--- thread.select: the first of several channels that has something.

local neap = require "neap"
local test = require "neap.test"
local thread = require "neap.thread"
local helper = require "spec.helper"

local catch, settle, start = helper.catch, helper.settle, helper.start

local function channels(n, capacity)
  local list = {}
  for i = 1, n do list[i] = thread.Channel(capacity) end
  return list
end

describe("select", function()
  it("takes what is there", function()
    local a, b = thread.Channel(), thread.Channel()
    b:send "x"
    local ch, v = thread.select { a, b }
    assert.equal(b, ch)
    assert.equal("x", v)
    assert.equal(0, #b)
    a:send(false)
    assert.same({ a, false }, { thread.select { a } })
  end)

  it("waits for the first that comes", function()
    for _, capacity in ipairs { 0, 2 } do
      local list = channels(3, capacity)
      for i = 1, 3 do
        local task = start(thread.select, list)
        assert.is_false(task:done())
        assert.is_true(list[i]:try_send { i })
        local ch, v = task:await()
        assert.equal(list[i], ch)
        assert.same({ i }, v)
      end
      -- it has left the lines of all
      for i = 1, 3 do assert.equal(capacity > 0, list[i]:try_send "x") end
    end
  end)

  it("takes one value, also where several come at once", function()
    local list = channels(2)
    local task = start(thread.select, list)
    list[2]:send "b"
    list[1]:send "a"
    list[2]:send "c"
    local ch, v = task:await()
    assert.equal(list[2], ch)
    assert.equal("b", v)
    assert.equal("a", list[1]:recv())
    assert.equal("c", list[2]:recv())
  end)

  it("takes from a sender that waits", function()
    local a, b = thread.Channel(0), thread.Channel(1)
    local task = start(a.send, a, 1)
    assert.same({ a, 1 }, { thread.select { b, a } })
    task:await()
  end)

  it("counts a closed channel as ready", function()
    local a, b = thread.Channel(), thread.Channel()
    local task = start(thread.select, { a, b })
    b:close()
    assert.same({ b, nil }, { task:await() })
    assert.equal(2, select("#", thread.select { b }))
    b = thread.Channel()
    b:send "left"
    b:close()
    assert.same({ b, "left" }, { thread.select { a, b } })
    assert.same({ b }, { thread.select { a, b } })
  end)

  it("may be given a channel twice", function()
    local a = thread.Channel()
    local task = start(thread.select, { a, a })
    a:send(1)
    assert.same({ a, 1 }, { task:await() })
    a:send(2)
    assert.same({ a, 2 }, { thread.select { a, a } })
    assert.equal(0, #a)
  end)

  it("passes no channel over", function()
    for n = 2, 5 do
      local list = channels(n)
      local counts = {}
      for _, ch in ipairs(list) do
        for i = 1, 400 do ch:send(i) end
        counts[ch] = 0
      end
      for _ = 1, 300 do
        local ch = thread.select(list)
        counts[ch] = counts[ch] + 1
      end
      for _, ch in ipairs(list) do assert.is_true(counts[ch] > 300 / n / 3) end
    end
  end)

  it("stands in each line at its place #ordered", function()
    local a, b = thread.Channel(), thread.Channel()
    local log, add = helper.log()
    start(function() add("1" .. a:recv()) end)
    start(function() add("2" .. select(2, thread.select { b, a })) end)
    start(function() add("3" .. a:recv()) end)
    for _, v in ipairs { "x", "y", "z" } do a:send(v) end
    settle()
    assert.same({ "1x", "2y", "3z" }, log)
  end)

  it("takes many channels", function()
    local list = channels(300)
    local task = start(thread.select, list)
    list[299]:send "x"
    assert.same({ list[299], "x" }, { task:await() })
  end)

  it("is not disturbed by what becomes of the list", function()
    local list = channels(3)
    local third = list[3]
    local task = start(thread.select, list)
    list[1], list[2], list[3] = nil, nil, nil
    collectgarbage()
    third:send(1)
    assert.same({ third, 1 }, { task:await() })
  end)

  it("checks its arguments", function()
    local ch = thread.Channel()
    assert.matches("table expected", catch(thread.select))
    assert.matches("table expected", catch(thread.select, ch))
    assert.matches("at least one channel", catch(thread.select, {}))
    assert.matches("item 2: Channel expected, got string", catch(thread.select, { ch, "x" }))
    assert.matches("item 1: Channel expected, got", catch(thread.select, { neap.Queue() }))
    assert.matches("number expected", catch(thread.select, { ch }, "x"))
    assert.matches("NaN", catch(thread.select, { ch }, 0 / 0))
  end)
end)

describe("a time-out of select", function()
  helper.virtual_time(before_each, after_each)

  it("gives nil", function()
    helper.both(function(run)
      local list = channels(2)
      local n, ch = run(function() return select("#", thread.select(list, 1.5)),
        thread.select(list, 0.5) end)
      assert.equal(1, n)
      assert.is_nil(ch)
      assert.equal(2, helper.elapsed())
      list[1]:send "kept"
      assert.equal(1, #list[1])
    end)
  end)

  it("of 0 only looks", function()
    local list = channels(2)
    assert.is_nil(thread.select(list, 0))
    assert.is_nil(thread.select(list, -1))
    list[2]:send(1)
    assert.same({ list[2], 1 }, { thread.select(list, 0) })
    assert.equal(0, helper.elapsed())
  end)

  it("does not come when something was there in time", function()
    local list = channels(2)
    local task = start(thread.select, list, 1)
    neap.sleep(0.9)
    list[1]:send "x"
    neap.sleep(0.2)
    assert.same({ list[1], "x" }, { task:result() })
  end)
end)

describe("a select that is cancelled", function()
  it("takes nothing", function()
    local list = channels(3, 1)
    local task = start(thread.select, list)
    task:cancel()
    settle()
    for _, ch in ipairs(list) do
      ch:send "x"
      assert.equal("x", ch:recv())
    end
  end)

  it("gives back what it was handed", function()
    local list = channels(3)
    local task = start(thread.select, list)
    list[2]:send "a"
    list[2]:send "b"
    task:cancel()
    settle()
    assert.is_true(task:cancelled())
    assert.equal("a", list[2]:recv())
    assert.equal("b", list[2]:recv())
    local first, second = start(thread.select, list), start(list[1].recv, list[1])
    list[1]:send "c"
    first:cancel()
    assert.equal("c", second:await())
  end)

  it("may be so at every moment", function()
    test.cancel_sweep(function()
      local a, b = thread.Channel(0), thread.Channel(1)
      local sum = 0
      local g <close> = neap.TaskGroup()
      for _, ch in ipairs { a, b } do
        g:create_task(function()
          for i = 1, 3 do ch:send(i) end
        end)
      end
      for _ = 1, 6 do
        local _, v = thread.select({ a, b }, 100)
        sum = sum + v
      end
      assert(sum == 12)
    end)
  end)

  it("is told of in reports", function()
    local list = channels(5, 2)
    local task = start(thread.select, list)
    assert.matches("thread%.select.* for <Channel 0/2>, <Channel 0/2>, <Channel 0/2> and 2 more",
      neap.get_event_loop():dump())
    task:cancel()
    settle()
    assert.is_true(neap.DeadlockError:is(catch(thread.select, list)))
  end)
end)
