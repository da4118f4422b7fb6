--- Lua's coroutines: what stock Lua promises about them.

local helper = require "spec.helper"

local catch, in_task, collect = helper.catch, helper.in_task, helper.collect

local function closing(fn)
  return setmetatable({}, { __close = function(_, err) fn(err) end })
end

--- Runs the function at top level and in a task: it must not notice the difference.
local function both(name, fn)
  it(name .. " (top level)", fn)
  it(name .. " (in a task)", function() in_task(fn) end)
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
