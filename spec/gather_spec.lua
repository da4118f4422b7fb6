--- gather: start all, wait for all.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle, in_task = helper.catch, helper.settle, helper.in_task

describe("gather", function()
  local reports = helper.reports

  local function slow(value, turns)
    for _ = 1, turns or 1 do neap.sleep(0) end
    return value
  end

  describe("with arguments", function()
    it("gives one value each, in order", function()
      local a, b, c = neap.gather(
        function() return slow("a", 3) end,
        function() return slow("b", 1) end,
        function() return "c" end)
      assert.same({ "a", "b", "c" }, { a, b, c })
    end)

    it("gives the first of several values, nil for none", function()
      local list = table.pack(neap.gather(
        function() return 1, 2, 3 end,
        function() end,
        function() return nil, 5 end,
        function() return {} end))
      assert.same({ 1, nil, nil, {}, n = 4 }, list)
    end)

    it("takes tasks, futures, functions and coroutines", function()
      local future = neap.Future()
      future:set_result "future"
      local a, b, c, d = neap.gather(
        neap.create_task(slow, "task"), future,
        function() return "function" end,
        coroutine.create(function() return "coroutine" end))
      assert.same({ "task", "future", "function", "coroutine" }, { a, b, c, d })
    end)

    it("starts them in order, after the caller let go #ordered", function()
      local order, add = helper.log()
      in_task(function()
        neap.create_task(add, "earlier")
        neap.gather(function() add(1) end, function() add(2) end, function() add(3) end)
      end)
      assert.same({ "earlier", 1, 2, 3 }, order)
    end)

    it("gives nothing for nothing", function()
      assert.equal(0, select("#", neap.gather()))
      in_task(function() assert.equal(0, select("#", neap.gather())) end)
    end)

    it("may have the same one twice", function()
      local runs = 0
      local task = neap.create_task(function()
        runs = runs + 1
        return slow "x"
      end)
      local a, b = neap.gather(task, task)
      assert.same({ "x", "x", 1 }, { a, b, runs })
    end)

    it("works in the same way in a task", function()
      local a, b = in_task(neap.gather, function() return slow(1) end,
        function() return slow(2) end)
      assert.same({ 1, 2 }, { a, b })
    end)
  end)

  describe("with a list", function()
    it("gives a list with n", function()
      local list = neap.gather { function() return slow(1) end, function() end,
        function() return 3 end, function() return nil, 4 end }
      assert.same({ 1, nil, 3, nil, n = 4 }, list)
    end)

    it("refuses a length that cannot be one", function()
      for _, length in ipairs { -1, math.mininteger, 1 << 40 } do
        local list = setmetatable({}, { __len = function() return length end })
        local ok, err = pcall(neap.gather, list)
        assert.is_false(ok)
        assert.matches("length out of range", err)
      end
    end)

    it("leaves the caller's list alone", function()
      local list = { function() return 1 end, function() return 2 end }
      local copy = { list[1], list[2] }
      assert.same({ 1, 2, n = 2 }, neap.gather(list))
      assert.same(copy, list)
    end)

    it("gives an empty list for an empty one", function()
      assert.same({ n = 0 }, neap.gather {})
      assert.same({ n = 0 }, neap.gather({}, { return_exceptions = true }))
    end)

    it("takes thousands", function()
      local list, n = {}, helper.many(10000)
      for i = 1, n do
        list[i] = function()
          neap.sleep(0)
          return i
        end
      end
      local got = neap.gather(list)
      assert.equal(n, got.n)
      for i = 1, n do
        if got[i] ~= i then assert.equal(i, got[i]) end
      end
    end)

    it("takes a callable table for an awaitable, not for a list", function()
      local object = setmetatable({}, { __call = function() return "called" end })
      assert.equal("called", neap.gather(object))
    end)
  end)

  describe("when one fails", function()
    it("raises its very error at once; the others go on", function()
      local value, finished = {}, false
      local future = neap.Future()
      local err = catch(neap.gather,
        function()
          future:await()
          finished = true
        end,
        function()
          neap.sleep(0)
          error(value)
        end)
      assert.equal(value, err)
      assert.is_false(finished)
      future:set_result()
      settle()
      assert.is_true(finished)
    end)

    it("raises the first in time, the later ones count as seen", function()
      local err = catch(neap.gather,
        function()
          slow(nil, 3)
          error("late", 0)
        end,
        function()
          slow(nil, 1)
          error("early", 0)
        end)
      assert.equal("early", err)
      settle()
      collectgarbage()
      collectgarbage()
      assert.equal(0, #reports)
    end)

    it("raises what had failed before", function()
      local failed = neap.create_task(error, "x", 0)
      settle()
      assert.equal("x", catch(neap.gather, failed, function() return 1 end))
      settle()
    end)

    it("may be caught in a task, which goes on", function()
      assert.equal("went on", in_task(function()
        local ok, err = pcall(neap.gather, function() error("x", 0) end)
        assert.is_false(ok)
        assert.equal("x", err)
        neap.sleep(0)
        return "went on"
      end))
    end)

    it("gives errors as values with return_exceptions", function()
      local value = {}
      local list = neap.gather({
        function() error(value) end,
        function() return slow "fine" end,
        function() error("text", 0) end,
        neap.sleep, -- without its argument
      }, { return_exceptions = true })
      assert.equal(value, list[1])
      assert.equal("fine", list[2])
      assert.equal("text", list[3])
      assert.matches("number expected", list[4])
      assert.equal(4, list.n)
    end)
  end)

  describe("when one is cancelled", function()
    it("raises CancelledError; the caller is not cancelled", function()
      in_task(function()
        local child = neap.create_task(neap.sleep, 10)
        local other = neap.create_task(slow, "x", 5)
        neap.get_event_loop():call_soon(child.cancel, child)
        local err = catch(neap.gather, child, other)
        assert.is_true(neap.CancelledError:is(err))
        assert.equal(0, neap.current_task():cancelling())
        assert.equal("x", other:await()) -- not raised again
      end)
    end)

    it("has a CancelledError among the values with return_exceptions", function()
      local child = neap.create_task(neap.sleep, 10)
      local other = neap.create_task(slow, "x", 5)
      neap.get_event_loop():call_soon(child.cancel, child, "why")
      local list = neap.gather({ child, other }, { return_exceptions = true })
      assert.is_true(neap.CancelledError:is(list[1]))
      assert.equal("why", list[1].message)
      assert.equal("x", list[2])
    end)
  end)

  describe("when the caller is cancelled", function()
    it("cancels all and raises CancelledError when they ended #ordered", function()
      local order, add = helper.log()
      local function child(name, turns)
        local ok, err = pcall(neap.sleep, 10)
        assert.is_false(ok)
        add(name .. " cancelled")
        neap.current_task():uncancel()
        for _ = 1, turns do neap.sleep(0) end
        add(name .. " ended")
        error(err)
      end
      local caller = neap.create_task(function()
        local ok, err = pcall(neap.gather, function() child("a", 3) end,
          function() child("b", 0) end)
        add "caller"
        assert.is_false(ok)
        assert.is_true(neap.CancelledError:is(err))
        assert.equal(1, neap.current_task():cancelling())
        error(err)
      end)
      settle()
      caller:cancel()
      settle(12)
      assert.is_true(caller:cancelled())
      assert.equal("a cancelled", order[1])
      assert.equal("b cancelled", order[2])
      assert.equal("b ended", order[3])
      -- the first one that ends cancelled decides, as in asyncio
      table.sort(order)
      assert.same({ "a cancelled", "a ended", "b cancelled", "b ended", "caller" }, order)
    end)

    it("raises with return_exceptions too, once all ended", function()
      local children = {}
      local caller = neap.create_task(function()
        for i = 1, 3 do children[i] = neap.create_task(neap.sleep, 10) end
        neap.gather(children, { return_exceptions = true })
      end)
      settle()
      assert.is_true(caller:cancel())
      settle()
      assert.is_true(caller:cancelled())
      for i = 1, 3 do assert.is_true(children[i]:cancelled()) end
    end)

    it("raises although the children went on", function()
      local stubborn = neap.create_task(function()
        pcall(neap.sleep, 10)
        neap.current_task():uncancel()
        return slow("result", 2)
      end)
      local caller = neap.create_task(neap.gather, stubborn)
      settle()
      caller:cancel()
      settle(12)
      assert.is_true(caller:cancelled())
      assert.equal("result", stubborn:result())
    end)

    it("raises the error a child makes of it", function()
      local caller = neap.create_task(neap.gather, function()
        pcall(neap.sleep, 10)
        error("instead", 0)
      end)
      settle()
      caller:cancel()
      assert.equal("instead", catch(caller.await, caller))
    end)

    it("leaves children that are done alone", function()
      local done = neap.create_task(function() return 1 end)
      local caller = neap.create_task(neap.gather, done, neap.Future())
      settle()
      caller:cancel()
      settle()
      assert.is_true(caller:cancelled())
      assert.equal(1, done:result())
    end)

    it("goes down nested ones", function()
      local leaves = {}
      local function level(n)
        if n == 0 then
          leaves[#leaves + 1] = neap.current_task()
          return neap.sleep(10)
        end
        return neap.gather(function() level(n - 1) end, function() level(n - 1) end)
      end
      local caller = neap.create_task(level, 5)
      settle(12)
      assert.equal(32, #leaves)
      caller:cancel()
      settle(20)
      assert.is_true(caller:cancelled())
      for _, leaf in ipairs(leaves) do assert.is_true(leaf:cancelled()) end
    end)

    it("before it started anything starts nothing", function()
      local ran = false
      local caller = neap.create_task(neap.gather, function() ran = true end)
      caller:cancel()
      settle()
      assert.is_true(caller:cancelled())
      assert.is_false(ran)
    end)
  end)

  describe("refuses", function()
    it("what is no awaitable, before it starts anything", function()
      local ran = false
      local function child() ran = true end
      assert.matches("bad argument #2 to 'neap.gather' %(awaitable expected",
        catch(neap.gather, child, 5))
      assert.matches("awaitable expected", catch(neap.gather, { child, 5 }))
      assert.matches("awaitable expected", catch(neap.gather, 5))
      assert.has_error(function() neap.gather({ child }, 5) end)
      settle()
      assert.is_false(ran)
    end)

    it("options that it does not know", function()
      assert.matches("unknown option 'return_exception' to 'neap.gather'",
        catch(neap.gather, {}, { return_exception = true }))
      assert.matches("unknown option 1 to 'neap.gather'", catch(neap.gather, {}, { print }))
    end)

    it("the task that calls it", function()
      assert.matches("itself", helper.catch_in_task(function()
        neap.gather(neap.current_task())
      end))
    end)

    it("futures of another loop", function()
      local loop <close> = neap.new_event_loop()
      assert.matches("another event loop", catch(neap.gather, loop:create_future()))
    end)
  end)

  it("lets go of what it gathered", function()
    local weak = setmetatable({}, { __mode = "k" })
    local pending = neap.Future()
    do
      local failed = neap.Future()
      weak[failed] = true
      local task = neap.create_task(neap.gather, pending, failed)
      weak[task] = true
      settle()
      failed:set_exception "x"
      assert.equal("x", catch(task.await, task))
    end
    settle()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
    pending:set_result()
  end)
end)
