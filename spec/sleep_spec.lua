--- Sleeping: how long, in which order, with which results.

local neap = require "neap"
local test = require "neap.test"
local helper = require "spec.helper"

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

describe("sleep", function()
  local function elapsed(fn, ...)
    local loop = neap.get_event_loop()
    local start = loop:time()
    fn(...)
    return loop:time() - start
  end

  it("takes at least its time", function()
    for _, seconds in ipairs { 0.0005, 0.001, 0.0025, 0.004 } do
      assert.is_true(elapsed(neap.sleep, seconds) >= seconds)
      assert.is_true(elapsed(in_task, neap.sleep, seconds) >= seconds)
    end
  end)

  it("gives back what it was given", function()
    local want = { 1, nil, "x", nil, n = 4 }
    assert.same(want, table.pack(neap.sleep(0, 1, nil, "x", nil)))
    assert.same(want, table.pack(neap.sleep(0.001, 1, nil, "x", nil)))
    in_task(function()
      assert.same(want, table.pack(neap.sleep(0, 1, nil, "x", nil)))
      assert.same(want, table.pack(neap.sleep(0.001, 1, nil, "x", nil)))
      assert.same({ n = 0 }, table.pack(neap.sleep(0)))
      assert.same({ n = 0 }, table.pack(neap.sleep(0.001)))
    end)
  end)

  it("wakes in the order of the deadlines", function()
    local clock <close> = test.clock()
    local order, add = helper.log()
    local tasks = {}
    for i, seconds in ipairs { 0.006, 0.002, 0.004, 0.001 } do
      tasks[i] = neap.create_task(function()
        neap.sleep(seconds)
        add(clock:time())
      end)
    end
    neap.gather(tasks)
    assert.same({ 0.001, 0.002, 0.004, 0.006 }, order)
  end)

  it("wakes in the order of arming where deadlines are equal", function()
    local order, add = helper.log()
    local loop = neap.get_event_loop()
    local when = loop:time() + 0.002
    for i = 1, 100 do loop:call_at(when, add, i) end
    neap.sleep(0.004)
    settle()
    local want = {}
    for i = 1, 100 do want[i] = i end
    assert.same(want, order)
  end)

  it("sleeps at the same time as others", function()
    local list = {}
    for i = 1, 100 do list[i] = neap.create_task(neap.sleep, 0.1) end
    assert.is_true(elapsed(neap.gather, list) < 9.9) -- one after the other: 10
  end)

  it("of 0 lets every ready task run once #ordered", function()
    local order, add = helper.log()
    local function turns(name)
      for i = 1, 3 do
        add(name .. i)
        neap.sleep(0)
      end
    end
    neap.gather(neap.create_task(turns, "a"), neap.create_task(turns, "b"))
    assert.same({ "a1", "b1", "a2", "b2", "a3", "b3" }, order)
  end)

  it("of 0 at top level lets every ready task run once", function()
    local n = 0
    local task = neap.create_task(function()
      for _ = 1, 5 do
        n = n + 1
        neap.sleep(0)
      end
    end)
    neap.sleep(0)
    assert.equal(1, n)
    neap.sleep(0)
    assert.equal(2, n)
    task:await()
    assert.equal(5, n)
  end)

  it("of less than 0 is one of 0", function()
    assert.equal("x", neap.sleep(-1, "x"))
    assert.equal("x", in_task(neap.sleep, -math.huge, "x"))
  end)

  it("does not starve timers while tasks are busy", function()
    local fired = false
    neap.get_event_loop():call_later(0.002, function() fired = true end)
    in_task(function()
      while not fired do neap.sleep(0) end
    end)
  end)

  it("runs what is due after what was ready already", function()
    local order, add = helper.log()
    local loop = neap.get_event_loop()
    in_task(function()
      loop:call_later(0, add, "due")
      loop:call_soon(add, "ready")
      neap.sleep(0.001)
    end)
    assert.same({ "ready", "due" }, order)
  end)

  it("for very long can be cancelled", function()
    for _, seconds in ipairs { 1e6, 1e12, 1e300, math.huge } do
      local task = neap.create_task(neap.sleep, seconds)
      settle()
      assert.is_false(task:done())
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
    end
  end)

  it("that was cancelled leaves nothing that could wake", function()
    local order, add = helper.log()
    local tasks = {}
    for i = 1, 200 do
      tasks[i] = neap.create_task(function()
        neap.sleep(0.003 + (i * 37 % 200) / 1e6)
        add(i)
      end)
    end
    settle(2)
    local cancelled = {}
    for i = 1, 200, 2 do cancelled[i] = tasks[i]:cancel() or nil end
    neap.gather(tasks, { return_exceptions = true })
    neap.sleep(0.001)
    local woken = 0
    for _, i in ipairs(order) do assert.is_nil(cancelled[i]) end
    for i = 1, 200 do woken = woken + (cancelled[i] and 0 or 1) end
    assert.equal(woken, #order)
  end)

  it("wants a number", function()
    assert.matches("number expected", catch(neap.sleep))
    assert.matches("number expected", catch(neap.sleep, {}))
    assert.matches("number expected", catch(neap.sleep, "soon"))
    assert.matches("NaN", catch(neap.sleep, 0 / 0))
    assert.matches("number expected", helper.catch_in_task(neap.sleep, nil))
    assert.equal("x", neap.sleep("0", "x"))
  end)

  it("is sleep at the top of a nested run too", function()
    assert.equal("x", neap.run(neap.sleep, 0.001, "x"))
  end)
end)
