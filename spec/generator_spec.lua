--- Coroutines inside tasks: what neap adds to Lua's.

local neap = require "neap"
local helper = require "spec.helper"

local catch, in_task, settle, closing = helper.catch, helper.in_task, helper.settle, helper.closing
local collect = helper.collect

--- Runs the function at top level and in a task: it must not notice the difference.
local function both(name, fn)
  it(name .. " (top level)", fn)
  it(name .. " (in a task)", function() in_task(fn) end)
end

describe("coroutine, with tasks:", function()
  --- A generator of 1 to n that waits before each value, `depth` coroutines deep.
  local function counter(n, depth)
    return coroutine.wrap(function()
      if depth > 1 then
        for v in counter(n, depth - 1) do
          neap.sleep(0)
          coroutine.yield(v)
        end
      else
        for i = 1, n do
          neap.sleep(0)
          coroutine.yield(i)
        end
      end
    end)
  end

  both("a generator waits and yields", function()
    assert.same({ 1, 2, 3 }, collect(counter(3, 1)))
  end)

  both("generators in generators wait and yield", function()
    assert.same({ 1, 2, 3, 4 }, collect(counter(4, 20)))
  end)

  it("tasks with generators run side by side #ordered", function()
    local events, log = helper.log()
    local function run(name)
      for v in counter(3, 2) do log(name .. v) end
    end
    neap.gather(function() run "a" end, function() run "b" end)
    assert.same({ "a1", "b1", "a2", "b2", "a3", "b3" }, events)
  end)

  it("waits pass through pcall, metamethods, iterators and close", function()
    local events, log = helper.log()
    local waits = {
      __add = function()
        neap.sleep(0)
        return "sum"
      end,
      __close = function(_, err)
        neap.sleep(0)
        log(err or "closed")
      end,
    }
    local function new() return setmetatable({}, waits) end
    local function body()
      log(new() + new())
      log((select(2, pcall(neap.sleep, 0, "slept"))))
      for v in function(_, v)
        neap.sleep(0)
        return not v and "iterated" or nil
      end do
        log(v)
      end
      do
        local _held <close> = new()
      end
      local ok, err = pcall(function()
        local _held <close> = new()
        error("failed", 0)
      end)
      log(tostring(ok) .. err)
      local _, handled = xpcall(function()
        neap.sleep(0)
        error("x", 0)
      end, function(err2) return err2 .. "handled" end)
      log(handled)
    end
    local want = {
      "sum", "slept", "iterated", "closed", "failed", "falsefailed", "xhandled",
    }
    in_task(body)
    assert.same(want, events)
    in_task(function() coroutine.wrap(body)() end)
    assert.same(want, { table.unpack(events, 8) })
  end)

  it("a parked generator is normal for everybody", function()
    local event = neap.Event()
    local co = coroutine.create(function()
      event:wait()
      event:clear()
      event:wait()
      coroutine.yield "value"
      return "end"
    end)
    local task = neap.create_task(coroutine.resume, co)
    settle()
    for _ = 1, 2 do
      assert.equal("normal", coroutine.status(co))
      assert.equal("normal", coroutine.status(task:get_coro()))
      assert.is_true(coroutine.isyieldable(co))
      assert.is_false(coroutine.isyieldable(task:get_coro()))
      assert.same({ false, "cannot resume non-suspended coroutine" },
        { coroutine.resume(co, 1, 2, 3) })
      assert.match("cannot close a normal coroutine", catch(coroutine.close, co))
      in_task(function()
        assert.match("cannot close a normal coroutine", catch(coroutine.close, co))
        assert.is_false((coroutine.resume(co)))
      end)
      event:set()
      settle()
    end
    assert.same({ true, "value" }, { task:await() })
    assert.equal("suspended", coroutine.status(co))
    assert.same({ true, "end" }, { coroutine.resume(co) })
    assert.equal("dead", coroutine.status(co))
  end)

  it("two tasks cannot drive one generator at the same time #ordered", function()
    local next_value = counter(4, 1)
    local first = neap.create_task(next_value)
    local second = neap.create_task(next_value)
    settle()
    assert.equal(1, first:result())
    assert.match("cannot resume non%-suspended coroutine", catch(second.result, second))
    assert.equal(2, in_task(next_value))
    assert.equal(3, next_value())
    assert.equal(4, coroutine.wrap(next_value)())
  end)

  it("a generator made in one task goes on in another", function()
    local owners = {}
    local function value()
      neap.sleep(0)
      owners[#owners + 1] = (neap.current_task())
    end
    local generator = in_task(function()
      local g = coroutine.wrap(function()
        while true do
          value()
          coroutine.yield(#owners)
        end
      end)
      assert.equal(1, g())
      return g
    end)
    local a = neap.create_task(generator)
    assert.equal(2, a:await())
    local b = neap.create_task(generator)
    assert.equal(3, b:await())
    assert.equal(a, owners[2])
    assert.equal(b, owners[3])
  end)

  it("a plain yield in a task's own body is an error", function()
    local err = helper.catch_in_task(function() coroutine.yield(1) end)
    assert.match("attempt to yield from the body of a task", err)
    assert.match("neap.sleep%(0%)", err)
    -- The error can be caught, and the task goes on.
    assert.equal("on", in_task(function()
      assert.is_false(pcall(coroutine.yield))
      return neap.sleep(0, "on")
    end))
  end)

  it("a task of a coroutine runs in that very coroutine", function()
    local events, log = helper.log()
    local co = coroutine.create(function(a, b)
      log((coroutine.running()))
      neap.sleep(0)
      log((coroutine.running()))
      return a, b
    end)
    local task = neap.create_task(co, 1, nil)
    assert.equal(co, task:get_coro())
    assert.equal("normal", coroutine.status(co))
    assert.is_false((coroutine.resume(co)))
    assert.match("has started", catch(neap.create_task, co))
    assert.same({ 1, n = 2 }, table.pack(task:await()))
    assert.same({ co, co }, events)
    assert.equal("dead", coroutine.status(co))
    assert.is_nil(task:get_coro())
    assert.match("has started", catch(neap.create_task, co))
  end)

  it("a coroutine that was seen is not used again", function()
    local seen = {}
    for _ = 1, 20 do
      in_task(function() seen[#seen + 1] = coroutine.running() end)
      local task = neap.create_task(function() end)
      seen[#seen + 1] = task:get_coro()
      task:await()
    end
    local set = {}
    for _, co in ipairs(seen) do
      assert.is_nil(set[co])
      set[co] = true
      assert.equal("dead", coroutine.status(co))
    end
  end)

  it("a hook set in a task ends with it", function()
    local count = 0
    in_task(function()
      debug.sethook(function() count = count + 1 end, "l")
      neap.sleep(0)
    end)
    assert.is_true(count > 0)
    local before = count
    for _ = 1, 5 do
      in_task(function()
        assert.is_nil((debug.gethook()))
        neap.sleep(0)
      end)
    end
    assert.equal(before, count)
  end)

  it("an error through wraps keeps the inner frames", function()
    local function innermost()
      neap.sleep(0)
      error "deep"
    end
    local task = neap.create_task(function()
      coroutine.wrap(function()
        coroutine.wrap(function()
          innermost()
          return 1
        end)()
        return 1
      end)()
      return 1
    end)
    assert.match("deep", catch(task.await, task))
    local trace = task:traceback()
    assert.match("'innermost'", trace)
    local _, n = trace:gsub("in a coroutine, resumed at", "")
    assert.equal(2, n)
  end)

  it("close handlers of a generator wait where Lua can yield", function()
    local events, log = helper.log()
    in_task(function()
      local g = coroutine.wrap(function()
        local _held <close> = closing(function()
          neap.sleep(0)
          log "closed"
        end)
        coroutine.yield(1)
        return 2
      end)
      log(g())
      log(g())
    end)
    assert.same({ 1, "closed", 2 }, events)
  end)

  it("coroutine.close says that handlers cannot wait", function()
    in_task(function()
      local function make()
        local co = coroutine.create(function()
          local _held <close> = closing(function() neap.sleep(0) end)
          coroutine.yield(1)
        end)
        coroutine.resume(co)
        return co
      end
      local ok, err = coroutine.close(make())
      assert.is_false(ok)
      assert.match("cannot wait in 'neap.sleep'", err)
      assert.match("coroutine.close", err)
      -- The same from a coroutine inside the handler.
      local co = coroutine.create(function()
        local _held <close> = closing(coroutine.wrap(function() neap.sleep(0) end))
        coroutine.yield(1)
      end)
      coroutine.resume(co)
      ok, err = coroutine.close(co)
      assert.is_false(ok)
      assert.match("coroutine.close", err)
    end)
  end)

  it("a failing wrap says that handlers cannot wait", function()
    local err = helper.catch_in_task(coroutine.wrap(function()
      local _held <close> = closing(function() neap.sleep(0) end)
      error "first"
    end))
    assert.match("cannot wait in 'neap.sleep'", err)
    assert.match("a failing coroutine.wrap", err)
  end)

  it("handlers of a closed generator wait at top level", function()
    local events, log = helper.log()
    local co = coroutine.create(function()
      local _held <close> = closing(function()
        neap.sleep(0)
        log "closed"
      end)
      coroutine.yield(1)
    end)
    coroutine.resume(co)
    assert.is_true(coroutine.close(co))
    assert.same({ "closed" }, events)
  end)

  it("a C function in the way is named, however deep", function()
    local function sorts()
      table.sort({ 1, 2, 3 }, function(a, b)
        neap.sleep(0)
        return a < b
      end)
    end
    for _, fn in ipairs { sorts, coroutine.wrap(sorts), function()
      table.sort({ 1, 2 }, coroutine.wrap(function() neap.sleep(0) end))
    end } do
      local err = helper.catch_in_task(fn)
      assert.match("cannot wait in 'neap.sleep'", err)
      assert.match("table.sort", err)
    end
    assert.has_no.errors(sorts) -- top level can
  end)

  it("a cancellation reaches the generator that waits", function()
    local events, log = helper.log()
    local task = neap.create_task(function()
      local g = coroutine.wrap(function()
        local ok, err = pcall(neap.sleep, 100)
        log(ok)
        log(neap.CancelledError:is(err))
        error(err, 0)
      end)
      g()
    end)
    settle()
    task:cancel()
    assert.is_true(neap.CancelledError:is(catch(task.await, task)))
    assert.is_true(task:cancelled())
    assert.same({ false, true }, events)
  end)

  it("resume that swallows a cancellation gets it again", function()
    local events, log = helper.log()
    local task = neap.create_task(function()
      log((coroutine.resume(coroutine.create(neap.sleep), 100)))
      log "goes on"
      neap.sleep(0)
      log "not here"
    end)
    settle()
    task:cancel()
    settle()
    assert.is_true(task:cancelled())
    assert.same({ false, "goes on" }, events)
  end)

  it("abandoned generators in tasks are collected", function()
    local seen = setmetatable({}, { __mode = "k" })
    in_task(function()
      for _ = 1, 20 do
        local co
        co = coroutine.create(function()
          neap.sleep(0)
          coroutine.yield(co)
        end)
        coroutine.resume(co)
        seen[co] = true
      end
    end)
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(seen))
  end)

  it("a chain of generators goes on however deep the loop runs", function()
    local function chain(n)
      if n == 0 then return neap.sleep(0.002, "bottom") end
      return coroutine.wrap(chain)(n - 1)
    end
    local task = neap.create_task(chain, 150)
    neap.sleep(0)
    local function deep(n)
      if n > 0 then
        local ok, err = pcall(deep, n - 1)
        if not ok then error(err, 0) end
      else
        assert.equal("bottom", task:await())
      end
    end
    deep(120)
  end)

  it("a traceback of a waiting task shows the generators' frames", function()
    local function waits_here() neap.sleep(0.001) end
    local task = neap.create_task(function()
      coroutine.wrap(function()
        waits_here()
        return 1
      end)()
      return 1
    end)
    neap.sleep(0)
    assert.match("'waits_here'.*in a coroutine, resumed at", task:traceback())
    task:await()
  end)
end)
