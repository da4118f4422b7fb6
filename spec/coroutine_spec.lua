--- Lua's coroutines: what stock Lua promises about them, and what neap adds to it.

local neap = require "neap"
local helper = require "spec.helper"
local start = helper.start

local in_task, catch, settle = helper.in_task, helper.catch, helper.settle

local function closing(fn)
  return setmetatable({}, { __close = function(_, err) fn(err) end })
end

--- Runs the function at top level and in a task: it must not notice the difference.
local function both(name, fn)
  it(name .. " (top level)", fn)
  it(name .. " (in a task)", function() in_task(fn) end)
end

local function collect(generator)
  local list = {}
  for v in generator do list[#list + 1] = v end
  return list
end

describe("coroutine, as in stock Lua:", function()
  both("values go in and out", function()
    local co = coroutine.create(function(...)
      local n = select("#", ...)
      local a, b, c = coroutine.yield(n, nil, ...)
      assert.same({ 7, nil, 9 }, { a, b, c })
      return nil, "end", nil
    end)
    local got = table.pack(coroutine.resume(co, "x", nil))
    assert.same({ true, 2, nil, "x", nil, n = 5 }, got)
    got = table.pack(coroutine.resume(co, 7, nil, 9))
    assert.same({ true, nil, "end", nil, n = 4 }, got)
    assert.same({ false, "cannot resume dead coroutine" }, { coroutine.resume(co) })
  end)

  both("many values", function()
    local co = coroutine.wrap(function(...)
      return select("#", coroutine.yield(...))
    end)
    local list = {}
    for i = 1, 20000 do list[i] = i end
    assert.equal(20000, select("#", co(table.unpack(list))))
    assert.equal(20000, co(table.unpack(list)))
  end)

  both("too many values are an error", function()
    local co = coroutine.create(function() return table.unpack({}, 1, 1000001) end)
    local ok, err = coroutine.resume(co)
    assert.is_false(ok)
    assert.match("too many results", err)
  end)

  both("bad arguments", function()
    local function check(want, fn, ...)
      local ok, err = pcall(fn, ...)
      assert.is_false(ok)
      assert.equal("bad argument " .. want, err)
    end
    check("#1 to 'coroutine.resume' (thread expected, got number)",
      coroutine.resume, 0)
    check("#1 to 'coroutine.resume' (thread expected, got no value)",
      coroutine.resume)
    check("#1 to 'coroutine.status' (thread expected, got table)",
      coroutine.status, {})
    check("#1 to 'coroutine.close' (thread expected, got no value)",
      coroutine.close)
    check("#1 to 'coroutine.isyieldable' (thread expected, got number)",
      coroutine.isyieldable, 1)
    check("#1 to 'coroutine.create' (function expected, got table)",
      coroutine.create, {})
    check("#1 to 'coroutine.wrap' (function expected, got no value)",
      coroutine.wrap)
    check("#1 to 'pcall' (value expected)", pcall)
    check("#2 to 'xpcall' (function expected, got nil)", xpcall, print, nil)
  end)

  both("status from all sides", function()
    local co, inner
    local function outside() return coroutine.status(co), coroutine.status(inner) end
    co = coroutine.create(function()
      assert.equal("running", coroutine.status(co))
      inner = coroutine.create(function()
        assert.same({ "normal", "running" }, { outside() })
        assert.same({ false, "cannot resume non-suspended coroutine" },
          { coroutine.resume(co) })
        assert.match("cannot close a normal coroutine", catch(coroutine.close, co))
        coroutine.yield()
      end)
      assert.is_true(coroutine.resume(inner))
      assert.same({ "running", "suspended" }, { outside() })
      assert.same({ false, "cannot resume non-suspended coroutine" },
        { coroutine.resume(co) })
      assert.match("cannot close a running coroutine", catch(coroutine.close, co))
      coroutine.yield()
      error "over"
    end)
    assert.equal("suspended", coroutine.status(co))
    assert.is_true(coroutine.resume(co))
    assert.same({ "suspended", "suspended" }, { outside() })
    assert.is_false(coroutine.resume(co))
    assert.equal("dead", coroutine.status(co))
    assert.is_true(coroutine.resume(inner))
    assert.equal("dead", coroutine.status(inner))
  end)

  both("isyieldable and running", function()
    local outer = coroutine.running()
    assert.is_false(coroutine.isyieldable())
    assert.is_false(coroutine.isyieldable(outer))
    local co
    co = coroutine.create(function()
      assert.same({ co, false }, { coroutine.running() })
      assert.is_true(coroutine.isyieldable())
      assert.is_false(coroutine.isyieldable(outer))
      string.gsub("a", "a", function()
        assert.is_false(coroutine.isyieldable())
        assert.equal("attempt to yield across a C-call boundary",
          catch(coroutine.yield))
      end)
    end)
    assert.is_true(coroutine.isyieldable(co))
    assert(coroutine.resume(co))
  end)

  it("the main coroutine cannot yield", function()
    local main, is_main = coroutine.running()
    assert.is_true(is_main)
    assert.equal("running", coroutine.status(main))
    assert.equal("attempt to yield from outside a coroutine", catch(coroutine.yield))
    assert.same({ false, "cannot resume non-suspended coroutine" },
      { coroutine.resume(main) })
  end)

  both("a generator yields through pcall, xpcall, metamethods, iterators", function()
    local mt = {
      __add = function(a, b) return coroutine.yield(a.v + b.v) end,
      __index = function(_, k) return coroutine.yield(k) end,
      __newindex = function(_, k, v) coroutine.yield(k .. v) end,
      __call = function(_, v) return coroutine.yield(v) end,
      __eq = function() return coroutine.yield "eq" end,
      __lt = function() return coroutine.yield "lt" end,
      __le = function() return coroutine.yield "le" end,
      __concat = function() return coroutine.yield ".." end,
      __len = function() return coroutine.yield "#" end,
      __unm = function() return coroutine.yield "-" end,
      __close = function() coroutine.yield "close" end,
    }
    local function new(v)
      return setmetatable({ v = v }, mt)
    end
    local seen = collect(coroutine.wrap(function()
      local a, b = new(1), new(2)
      local _
      _ = a + b
      _ = a.field
      a.key = "value"
      a "called"
      _ = a == b
      _ = a < b
      _ = a <= b
      _ = a .. b
      _ = #a
      _ = -a
      pcall(coroutine.yield, "pcall")
      xpcall(coroutine.yield, print, "xpcall")
      pcall(pcall, pcall, coroutine.yield, "pcalls")
      select(2, pcall(function()
        coroutine.yield "before the error"
        error "x"
      end))
      for i in function(_, i) return coroutine.yield(i) end, nil, "for" do
        coroutine.yield(i)
      end
      do
        local _held <close> = a
      end
      pcall(function()
        local _held <close> = a
        error "close at an error"
      end)
    end))
    assert.same({
      3, "field", "keyvalue", "called", "eq", "lt", "le", "..", "#", "-",
      "pcall", "xpcall", "pcalls", "before the error", "for", "close", "close",
    }, seen)
  end)

  both("errors of any kind come out of resume and wrap", function()
    for _, value in ipairs { 1, true, "text", {}, print } do
      local ok, err = coroutine.resume(coroutine.create(error), value, 0)
      assert.is_false(ok)
      assert.equal(value, err)
      ok, err = pcall(coroutine.wrap(function() error(value, 0) end))
      assert.is_false(ok)
      if type(value) == "string" then
        assert.match("^text$", err)
      elseif type(value) ~= "number" then
        assert.equal(value, err)
      end
    end
    local ok, err = coroutine.resume(coroutine.create(error))
    assert.is_false(ok)
    assert.is_nil(err)
  end)

  both("a failing wrap puts its caller's place before a message", function()
    local f = coroutine.wrap(function() error("message", 0) end)
    local line = debug.getinfo(1, "l").currentline + 1
    local ok, err = pcall(function() f() end)
    assert.is_false(ok)
    assert.match("coroutine_spec.lua:" .. line .. ": message$", err)
    assert.match("cannot resume dead coroutine$", catch(f))
  end)

  both("a failing wrap closes what is to be closed", function()
    local events, log = helper.log()
    local f = coroutine.wrap(function()
      local _a <close> = closing(function(err)
        log(err)
        error("second", 0)
      end)
      local _b <close> = closing(log)
      error("first", 0)
    end)
    local err = catch(function() f() end)
    assert.same({ "first", "first" }, events)
    assert.match("second$", err)
  end)

  both("close runs handlers, last first, with the error so far", function()
    local events, log = helper.log()
    local co = coroutine.create(function()
      local _a <close> = closing(function(err)
        log(err or "none")
        error(3, 0)
      end)
      local _b <close> = closing(function(err)
        log(err or "none")
        error(2, 0)
      end)
      local _c <close> = closing(function(err) log(err or "none") end)
      coroutine.yield()
    end)
    coroutine.resume(co)
    assert.same({ false, 3 }, { coroutine.close(co) })
    assert.same({ "none", "none", 2 }, events)
    assert.equal("dead", coroutine.status(co))
    assert.same({ true }, { coroutine.close(co) })
  end)

  both("close of a fresh, a finished and a failed coroutine", function()
    local fresh = coroutine.create(error)
    assert.same({ true }, { coroutine.close(fresh) })
    assert.equal("dead", coroutine.status(fresh))
    local finished = coroutine.create(function() end)
    coroutine.resume(finished)
    assert.same({ true }, { coroutine.close(finished) })
    local failed = coroutine.create(error)
    coroutine.resume(failed, "why")
    assert.same({ false, "why" }, { coroutine.close(failed) })
    assert.same({ true }, { coroutine.close(failed) })
  end)

  both("a handler may not close its own coroutine", function()
    local co
    co = coroutine.create(function()
      local _a <close> = closing(function() coroutine.close(co) end)
      coroutine.yield()
    end)
    coroutine.resume(co)
    local ok, err = coroutine.close(co)
    assert.is_false(ok)
    assert.match("cannot close a running coroutine", err)
  end)

  both("recursion has its limits #slow", function()
    local function wraps() return coroutine.wrap(wraps)() end
    assert.match("C stack overflow", catch(wraps))
    local function resumes()
      local ok, err = coroutine.resume(coroutine.create(resumes))
      if not ok then error(err, 0) end
    end
    assert.match("C stack overflow", catch(resumes))
    local function pcalls()
      local ok, err = pcall(pcalls)
      if not ok then error(err, 0) end
    end
    assert.match("C stack overflow", catch(pcalls))
    local function plain() return 1 + plain() end
    assert.match("stack overflow", catch(plain))
    assert.match("stack overflow", catch(coroutine.wrap(plain)))
    local depth = 0
    local function down(n)
      depth = n
      if n > 0 then coroutine.wrap(down)(n - 1) end
    end
    down(150)
    assert.equal(0, depth)
  end)

  both("hooks of a coroutine are its own", function()
    local events, log = helper.log()
    local yield = coroutine.yield -- busted's globals are called, too
    local co = coroutine.create(function()
      yield(10)
      return 20
    end)
    debug.sethook(co, log, "clr")
    assert.is_nil((debug.gethook()))
    repeat until not coroutine.resume(co)
    assert.same({ "call", "line", "call", "return", "line", "return" }, events)
  end)

  both("debug looks into a suspended coroutine", function()
    local co = coroutine.create(function(argument)
      local value = argument * 2
      coroutine.yield(value)
    end)
    coroutine.resume(co, 21)
    assert.equal("yield", debug.getinfo(co, 0, "n").name)
    local name, value = debug.getlocal(co, 1, 2)
    assert.same({ "value", 42 }, { name, value })
    assert.match("in function 'coroutine.yield'.*in function <.-coroutine_spec",
      debug.traceback(co))
    assert.match("^text\nstack traceback:\n\t%[C%]: in function 'coroutine.yield'",
      debug.traceback(co, "text"))
  end)

  both("abandoned generators are collected", function()
    local seen = setmetatable({}, { __mode = "k" })
    local closed = 0
    for _ = 1, 100 do
      local co
      co = coroutine.create(function()
        local _held <close> = closing(function() closed = closed + 1 end)
        coroutine.yield(co)
      end)
      coroutine.resume(co)
      seen[co] = true
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(seen))
    assert.equal(0, closed)
  end)

  both("xpcall's handler sees the failing frames", function()
    local function fail() error("here", 0) end
    local _, trace = xpcall(function()
      fail()
      return 1
    end, debug.traceback)
    assert.match("^here\nstack traceback:\n\t%[C%]: in function 'error'", trace)
    assert.match("in upvalue 'fail'", trace)
    assert.match("%[C%]: in function 'xpcall'", trace)
  end)
end)

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

describe("require", function()
  local loads

  before_each(function() loads = {} end)
  after_each(function()
    for name in pairs(package.preload) do
      if name:match "^spec%-" then package.preload[name] = nil end
    end
    for name in pairs(package.loaded) do
      if name:match "^spec%-" then package.loaded[name] = nil end
    end
  end)

  local function module(name, body)
    package.preload[name] = function(...)
      loads[name] = (loads[name] or 0) + 1
      return body(...)
    end
  end

  it("lets a module's body wait", function()
    module("spec-waits", function(name, data)
      neap.sleep(0)
      return { name, data }
    end)
    assert.same({ "spec-waits", ":preload:" }, (in_task(require, "spec-waits")))
    package.loaded["spec-waits"] = nil
    assert.same({ "spec-waits", ":preload:" }, (require "spec-waits"))
    assert.same({ { "spec-waits", ":preload:" } }, { require "spec-waits" })
  end)

  it("lets a searcher wait", function()
    table.insert(package.searchers, 1, function(name)
      neap.sleep(0)
      if name == "spec-found" then return function(_, data) return data end, "data" end
      return "nothing here"
    end)
    local found, extra = in_task(require, "spec-found")
    local err = helper.catch_in_task(require, "spec-missing")
    table.remove(package.searchers, 1)
    assert.same({ "data", "data" }, { found, extra })
    assert.match("module 'spec%-missing' not found:\n\tnothing here\n\tno field", err)
  end)

  it("loads a module once for all who ask at the same time", function()
    module("spec-shared", function()
      neap.sleep(0.001)
      return {}
    end)
    local function get() return (require "spec-shared") end
    local a, b, c = neap.gather(get, coroutine.wrap(get), get)
    assert.equal(a, b)
    assert.equal(a, c)
    assert.equal(1, loads["spec-shared"])
  end)

  it("top level waits for a task's load, and a task for its", function()
    module("spec-shared", function()
      neap.sleep(0.001)
      return {}
    end)
    local task = neap.create_task(require, "spec-shared")
    neap.sleep(0)
    assert.equal(require "spec-shared", (task:await()))
    package.loaded["spec-shared"] = nil
    task = neap.create_task(require, "spec-shared")
    assert.equal(require "spec-shared", (task:await()))
    assert.equal(2, loads["spec-shared"])
  end)

  it("the next in line tries again after a failure", function()
    module("spec-fails", function()
      neap.sleep(0)
      if loads["spec-fails"] == 1 then error("no", 0) end
      return "yes"
    end)
    local first = start(require, "spec-fails")
    local second = start(require, "spec-fails")
    local third = start(require, "spec-fails")
    settle()
    assert.equal("no", first:exception())
    assert.equal("yes", (second:result()))
    assert.equal("yes", (third:result()))
    assert.equal(2, loads["spec-fails"])
  end)

  it("the next in line takes over after a cancellation #clock", function()
    module("spec-slow", function()
      neap.sleep(0.001)
      return "yes"
    end)
    local first = start(require, "spec-slow")
    local second = start(require, "spec-slow")
    local third = start(require, "spec-slow")
    neap.sleep(0)
    first:cancel()
    second:cancel()
    assert.equal("yes", (third:await()))
    assert.is_true(first:cancelled())
    assert.is_true(second:cancelled())
    assert.equal(2, loads["spec-slow"])
  end)

  it("the next in line takes over from a generator that failed or was left", function()
    module("spec-generator", function()
      neap.sleep(0)
      if loads["spec-generator"] == 1 then error("no", 0) end
      if loads["spec-generator"] == 2 then coroutine.yield "left" end
      return "yes"
    end)
    local co = coroutine.create(function() require "spec-generator" end)
    local first = start(coroutine.resume, co)
    local left = start(function()
      return coroutine.wrap(function() require "spec-generator" end)()
    end)
    local last = start(require, "spec-generator")
    settle()
    assert.same({ false, "no" }, { first:result() })
    assert.equal("dead", coroutine.status(co))
    assert.equal("left", left:await())
    collectgarbage()
    collectgarbage()
    assert.equal("yes", (last:await()))
    assert.equal(3, loads["spec-generator"])
  end)

  it("modules that require each other are loaded as in stock Lua", function()
    local function ring(name, other)
      module(name, function()
        neap.sleep(0)
        if loads[name] > 3 then error("a ring", 0) end
        require(other)
        return name
      end)
    end
    ring("spec-a", "spec-b")
    ring("spec-b", "spec-a")
    assert.equal("a ring", helper.catch_in_task(require, "spec-a"))
    loads = {}
    local a = neap.create_task(require, "spec-a")
    local b = neap.create_task(require, "spec-b")
    settle(30)
    assert.is_true(a:done())
    assert.is_true(b:done())
    a:exception()
    b:exception()
  end)

  it("gives stock results and messages", function()
    module("spec-nil", function() end)
    module("spec-false", function() return false end)
    module("spec-sets", function(name) package.loaded[name] = "set" end)
    for _, run in ipairs { function(f, ...) return f(...) end, in_task } do
      for name in pairs(package.loaded) do
        if name:match "^spec%-" then package.loaded[name] = nil end
      end
      assert.same({ true, ":preload:" }, { run(require, "spec-nil") })
      assert.same({ true }, { run(require, "spec-nil") })
      assert.same({ false, ":preload:" }, { run(require, "spec-false") })
      assert.same({ false, ":preload:" }, { run(require, "spec-false") })
      assert.same({ "set", ":preload:" }, { run(require, "spec-sets") })
      assert.match("bad argument #1 to '.-' %(string expected, got table%)",
        catch(run, require, {}))
      assert.match("module 'spec%-none' not found:\n\tno field "
        .. "package.preload%['spec%-none'%]\n\tno file '",
        catch(run, require, "spec-none"))
    end
  end)
end)
