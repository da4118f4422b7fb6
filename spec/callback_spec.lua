--- Callbacks of an event loop: call_soon, call_later, call_at, Handles, exception handlers.

local neap = require "neap"
local helper = require "spec.helper"

local catch, settle, reports = helper.catch, helper.settle, helper.reports

describe("a loop", function()
  describe("call_soon", function()
    it("calls in order, with arguments, not before the next turn", function()
      local order = {}
      local loop = neap.get_event_loop()
      for i = 1, 3 do
        loop:call_soon(function(...) order[#order + 1] = table.pack(...) end, i, nil)
      end
      assert.same({}, order)
      settle()
      assert.same({ { 1, nil, n = 2 }, { 2, nil, n = 2 }, { 3, nil, n = 2 } }, order)
    end)

    it("from a callback runs a turn later", function()
      local order, add = helper.log()
      local loop = neap.get_event_loop()
      loop:call_soon(function()
        add(1)
        loop:call_soon(add, 3)
      end)
      loop:call_soon(add, 2)
      settle()
      assert.same({ 1, 2, 3 }, order)
    end)

    it("calls callable tables, refuses the rest", function()
      local loop, got = neap.get_event_loop(), nil
      loop:call_soon(setmetatable({}, { __call = function(_, x) got = x end }), 9)
      settle()
      assert.equal(9, got)
      assert.matches("function expected", catch(loop.call_soon, loop, 5))
      assert.matches("function expected", catch(loop.call_soon, loop))
    end)

    it("gives a Handle that can be cancelled, also twice and too late", function()
      local loop, n = neap.get_event_loop(), 0
      local function count() n = n + 1 end
      local a, b = loop:call_soon(count), loop:call_soon(count)
      assert.is_false(a:cancelled())
      a:cancel()
      a:cancel()
      assert.is_true(a:cancelled())
      settle()
      assert.equal(1, n)
      assert.is_false(b:cancelled())
      b:cancel()
      assert.is_true(b:cancelled())
      assert.is_nil(a:when())
      assert.matches("^<Handle cancelled, created at .*callback_spec.lua:%d+>$", tostring(a))
    end)

    it("may cancel another of the same turn", function()
      local loop, ran = neap.get_event_loop(), false
      local other
      loop:call_soon(function() other:cancel() end)
      other = loop:call_soon(function() ran = true end)
      settle()
      assert.is_false(ran)
    end)

    it("lets go of what it called", function()
      local loop = neap.get_event_loop()
      local weak = setmetatable({}, { __mode = "k" })
      for i = 1, 3 do
        local argument = {}
        weak[argument] = true
        local handle = i == 1 and loop:call_later(0, function() end, argument)
          or loop:call_soon(function() end, argument)
        if i == 3 then handle:cancel() end
      end
      neap.sleep(0.001)
      settle()
      collectgarbage()
      collectgarbage()
      assert.is_nil(next(weak))
    end)

    it("has no task to run in: it cannot wait", function()
      local err
      neap.get_event_loop():call_soon(function() err = catch(neap.sleep, 0) end)
      settle()
      assert.matches("cannot wait in 'neap.sleep' inside a loop callback", err)
      assert.matches("neap.create_task", err, 1, true)
    end)

    it("may start tasks", function()
      local task
      neap.get_event_loop():call_soon(function()
        task = neap.create_task(function() return neap.sleep(0, "x") end)
      end)
      settle()
      assert.equal("x", task:await())
    end)
  end)

  describe("call_later and call_at", function()
    it("call at their time, in its order", function()
      local order, add = helper.log()
      local loop = neap.get_event_loop()
      local start = loop:time()
      local handles = {
        loop:call_later(0.004, add, 1),
        loop:call_at(start + 0.002, add, 2),
        loop:call_later(0.001, add, 3),
      }
      neap.sleep(0.006)
      settle()
      assert.equal(3, #order)
      for i = 2, 3 do
        assert.is_true(handles[order[i - 1]]:when() < handles[order[i]]:when())
      end
    end)

    it("never call early", function()
      local loop, early = neap.get_event_loop(), 0
      for i = 1, 20 do
        local when = loop:time() + i * 0.0002
        loop:call_at(when, function()
          if loop:time() < when then early = early + 1 end
        end)
      end
      neap.sleep(0.006)
      settle()
      assert.equal(0, early)
    end)

    it("give Handles that know when", function()
      local loop = neap.get_event_loop()
      local before = loop:time()
      local later, at = loop:call_later(10, print), loop:call_at(before + 5, print)
      assert.is_true(later:when() >= before + 10 and later:when() < before + 11)
      assert.equal(before + 5, at:when())
      later:cancel()
      at:cancel()
      assert.is_true(later:cancelled())
    end)

    it("in the past call soon, but after what is ready", function()
      local order, add = helper.log()
      local loop = neap.get_event_loop()
      loop:call_at(0, add, 2)
      loop:call_later(-5, add, 3)
      loop:call_soon(add, 1)
      neap.sleep(0.001)
      settle()
      assert.equal(1, order[1])
      table.sort(order)
      assert.same({ 1, 2, 3 }, order)
    end)

    it("are cancelled without a trace, any of many", function()
      local order, add = helper.log()
      local loop = neap.get_event_loop()
      local handles, base = {}, loop:time() + 0.001
      for i = 1, 300 do handles[i] = loop:call_at(base + (i * 73 % 300) / 1e6, add, i) end
      for i = 1, 300, 3 do handles[i]:cancel() end
      neap.sleep(0.004)
      settle()
      assert.equal(200, #order)
      for k = 2, #order do
        assert.is_true(order[k - 1] * 73 % 300 < order[k] * 73 % 300)
      end
    end)

    it("check their arguments", function()
      local loop = neap.get_event_loop()
      assert.matches("number expected", catch(loop.call_later, loop, print))
      assert.matches("function expected", catch(loop.call_later, loop, 1))
      assert.matches("function expected", catch(loop.call_at, loop, 1, {}))
      assert.matches("NaN", catch(loop.call_later, loop, 0 / 0, print))
    end)
  end)

  describe("exception handler", function()
    it("gets errors of callbacks, with the handle and a traceback", function()
      local loop, value = neap.get_event_loop(), {}
      local handle = loop:call_soon(function() error(value) end)
      settle()
      local context = reports.take()[1]
      assert.equal("Exception in callback", context.message)
      assert.equal(value, context.exception)
      assert.equal(handle, context.handle)
      assert.matches("callback_spec.lua:%d+: in function", context.traceback)
    end)

    it("is called by call_exception_handler with that very table", function()
      local loop <close> = neap.new_event_loop()
      local context, got = { message = "x" }, nil
      loop:set_exception_handler(function(...) got = table.pack(...) end)
      loop:call_exception_handler(context)
      assert.equal(2, got.n)
      assert.equal(loop, got[1])
      assert.equal(context, got[2])
      assert.has_error(function() loop:call_exception_handler "x" end)
    end)

    it("is one for each loop", function()
      local loop <close> = neap.new_event_loop()
      local got
      loop:set_exception_handler(function(_, context) got = context.exception end)
      loop:call_soon(error, "a", 0)
      loop:run_until_complete(neap.sleep, 0)
      assert.equal("a", got)
      neap.get_event_loop():call_soon(error, "b", 0)
      settle()
      assert.equal("a", got)
      assert.equal("b", reports.take()[1].exception)
    end)

    it("must be callable or nil", function()
      local loop = neap.get_event_loop()
      assert.matches("function expected", catch(loop.set_exception_handler, loop, 5))
    end)

    it("may start tasks, not wait", function()
      local loop <close> = neap.new_event_loop()
      local err, task
      loop:set_exception_handler(function()
        err = catch(neap.sleep, 0)
        task = neap.create_task(neap.sleep, 0, "x")
      end)
      loop:call_soon(error, "a")
      loop:run_until_complete(settle)
      assert.matches("cannot wait", err)
      assert.equal("x", task:result())
    end)
  end)
end)
