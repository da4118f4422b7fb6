--- Event: a flag to wait for.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

describe("an event", function()
  local function waiter(event, add, name)
    return neap.create_task(function()
      add(name .. tostring(event:wait()))
    end)
  end

  it("is a flag", function()
    local event = neap.Event()
    assert.is_false(event:is_set())
    assert.equal("<Event unset>", tostring(event))
    event:set()
    event:set()
    assert.is_true(event:is_set())
    assert.equal("<Event set>", tostring(event))
    event:clear()
    event:clear()
    assert.is_false(event:is_set())
  end)

  it("does not hold up who waits when it is set", function()
    local event, other_ran = neap.Event(), false
    event:set()
    assert.is_true(event:wait())
    in_task(function()
      neap.create_task(function() other_ran = true end)
      for _ = 1, 100 do assert.is_true(event:wait()) end
      assert.is_false(other_ran)
    end)
  end)

  it("wakes all who wait, in the order of arrival #ordered", function()
    local event, order, add = neap.Event(), helper.log()
    for i = 1, 5 do waiter(event, add, i .. " ") end
    settle()
    assert.same({}, order)
    event:set()
    assert.same({}, order)
    settle()
    assert.same({ "1 true", "2 true", "3 true", "4 true", "5 true" }, order)
  end)

  it("wakes them although it is cleared before their turn #ordered", function()
    local event, order, add = neap.Event(), helper.log()
    waiter(event, add, "a ")
    waiter(event, add, "b ")
    settle()
    event:set()
    event:clear()
    local late = waiter(event, add, "late ")
    settle()
    assert.same({ "a true", "b true" }, order)
    assert.is_false(late:done())
    event:set()
    settle()
    assert.is_true(late:done())
  end)

  it("goes on without a cancelled waiter #ordered", function()
    local event, order, add = neap.Event(), helper.log()
    local a, b, c = waiter(event, add, "a "), waiter(event, add, "b "), waiter(event, add, "c ")
    settle()
    b:cancel()
    event:set()
    settle()
    assert.same({ "a true", "c true" }, order)
    assert.is_true(b:cancelled())
    assert.is_false(a:cancelled() or c:cancelled())
  end)

  it("raises in a waiter that is cancelled after it was woken", function()
    local event, order, add = neap.Event(), helper.log()
    local a, b = waiter(event, add, "a "), waiter(event, add, "b ")
    settle()
    event:set()
    a:cancel()
    settle()
    assert.is_true(a:cancelled())
    assert.is_true(b:done())
    assert.same({ "b true" }, order)
    assert.is_true(event:is_set())
  end)

  it("wakes the root", function()
    local event = neap.Event()
    neap.get_event_loop():call_soon(event.set, event)
    assert.is_true(event:wait())
  end)

  it("can be set by a task for another, back and forth", function()
    local ping, pong, n = neap.Event(), neap.Event(), 0
    neap.gather(function()
      for _ = 1, 50 do
        ping:set()
        pong:wait()
        pong:clear()
      end
    end, function()
      for _ = 1, 50 do
        ping:wait()
        ping:clear()
        n = n + 1
        pong:set()
      end
    end)
    assert.equal(50, n)
  end)

  it("that nobody sets is a deadlock at top level", function()
    local event = neap.Event()
    local err = catch(event.wait, event)
    assert.is_true(neap.DeadlockError:is(err))
    assert.matches("waits in 'Event:wait'", err.message)
    event:set()
    assert.is_true(event:wait())
  end)

  it("wakes thousands", function()
    local event, n, many = neap.Event(), 0, helper.many(10000)
    for _ = 1, many do
      neap.create_task(function()
        event:wait()
        n = n + 1
      end)
    end
    settle()
    event:set()
    settle()
    assert.equal(many, n)
  end)

  it("refuses other objects", function()
    local event = neap.Event()
    assert.has_error(function() event.wait(neap.Lock()) end)
    assert.has_error(function() event.set() end)
  end)
end)
