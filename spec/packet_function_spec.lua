--- What crosses to another thread or process: functions with what they refer to, and what
--- crosses by its name.

local neap = require "neap"
local thread = require "neap.thread"
local core = require "neap.core.packet"
local helper = require "spec.helper"

local catch, copy = helper.catch, core.copy
core.key()

local function cross(...) return core.unpack(core.pack(...)) end

--- Both ways: to a thread, and as bytes to a process.
local function both(check)
  check(copy)
  check(cross)
end

describe("a function that crosses", function()
  it("does what it did", function()
    both(function(over)
      assert.equal(3, over(function(a, b) return a + b end)(1, 2))
      assert.same({ 1, 2 }, { over(function(...) return ... end)(1, 2) })
      assert.is_nil(over(function() end)())
    end)
  end)

  it("has copies of its upvalues", function()
    both(function(over)
      local n, list = 1, { 1, 2 }
      local got, same = over(function(x)
        n = n + x
        list[#list + 1] = x
        return n, list
      end, list)
      local a, b = got(5)
      assert.equal(6, a)
      assert.same({ 1, 2, 5 }, b)
      assert.equal(same, b)
      assert.same({ 1, 2 }, list)
      assert.equal(1, n)
    end)
  end)

  it("shares upvalues with others of the packet", function()
    both(function(over)
      local n = 0
      local function inc() n = n + 1 end
      local function get() return n end
      local t = over({ inc = inc, deep = { get = get }, both = function() inc() return get() end })
      t.inc()
      assert.equal(1, t.deep.get())
      assert.equal(2, t.both())
      assert.equal(0, n)
    end)
  end)

  it("may call itself, directly and through another", function()
    both(function(over)
      local function fact(n) return n < 2 and 1 or n * fact(n - 1) end
      assert.equal(120, over(fact)(5))
      local even
      local function odd(n) return n > 0 and even(n - 1) end
      function even(n) return n == 0 or odd(n - 1) end
      assert.is_true(over(even)(10))
      assert.is_false(over(odd)(10))
    end)
  end)

  it("is the same function wherever the packet has it", function()
    both(function(over)
      local function f() end
      local t = over({ f, f, [f] = f })
      assert.is_true(t[1] == t[2] and t[t[1]] == t[1] and t[1] ~= f)
    end)
  end)

  it("has the globals of the other side", function()
    both(function(over)
      local f = over(function() return _ENV, _G, print end)
      local env, g, p = f()
      assert.is_true(env == _G and g == _G and p == print)
      local globals = _G
      assert.equal(_G, over(function() return globals end)())
      local sandboxed = load("return print", "=sandboxed", "t", { co = coroutine.create(print) })
      assert.equal(print, over(sandboxed)())
    end)
  end)

  it("keeps the names of its lines", function()
    both(function(over)
      local f = over(function() error "here" end)
      assert.matches("packet_function_spec%.lua:%d+: here", catch(f))
    end)
  end)

  it("may come in any number, with any upvalues", function()
    local list, shared = {}, {}
    for i = 1, 300 do
      local mine = i
      list[i] = function()
        mine = mine + 1
        shared[i] = mine
        return mine, shared, list
      end
    end
    both(function(over)
      local got = over(list)
      for i = 1, 300 do
        local mine, s, l = got[i]()
        assert.is_true(mine == i + 1 and s[i] == mine and l == got)
      end
    end)
    assert.is_nil(next(shared))
  end)
end)

describe("by its name", function()
  it("crosses what a library has", function()
    both(function(over)
      for _, value in ipairs { print, string.format, string, io.stdout, coroutine.wrap, pcall,
        require, error, neap, neap.sleep, neap.Queue, neap.net, thread.start, core, core.pack,
        package.loaded, os.exit, thread } do
        assert.equal(value, (over(value)))
      end
      local upvalue, format = neap, string.format
      local a, b = over(function() return upvalue, format end)()
      assert.is_true(a == neap and b == string.format)
    end)
  end)

  it("crosses what another module has; not what is global", function()
    local M = { list = { 1 } }
    function M.f() return M end
    package.loaded["spec.made_up"] = M
    both(function(over)
      assert.equal(M, (over(M)))
      assert.equal(M.f, (over(M.f)))
      assert.equal(M, over(function() return M end)())
      assert.is_true((over(M.list)) ~= M.list)
    end)
    function _G.spec_global() return 1 end
    assert.is_true((copy(_G.spec_global)) ~= _G.spec_global)
    _G.spec_global = nil
    package.loaded["spec.made_up"] = nil
    assert.is_true((copy({ M }))[1] ~= M)
  end)

  it("is required where it is not loaded", function()
    package.loaded["spec.made_up"] = { x = print, own = function() end }
    package.preload["spec.made_up"] = function() return { own = "other" } end
    local whole = core.pack(package.loaded["spec.made_up"])
    local own = core.pack(package.loaded["spec.made_up"].own)
    package.loaded["spec.made_up"] = nil
    assert.same({ own = "other" }, core.unpack(whole))
    assert.equal("other", core.unpack(own))
    package.preload["spec.made_up"] = nil
    package.loaded["spec.made_up"] = {}
    assert.matches("module 'spec.made_up' has no 'own' here", catch(core.unpack, own))
    package.loaded["spec.made_up"] = nil
    assert.matches("module 'spec.made_up' not found", catch(core.unpack, whole))
  end)

  it("is seen when the module came later, in every way", function()
    local M = { c = string.gmatch("a", "b") }
    assert.matches("^value 1%.c: a C function", catch(copy, M))
    package.loaded["spec.made_up"] = M
    assert.equal(M.c, (copy({ M.c }))[1])
    M.d = string.gmatch("a", "b")
    assert.equal(M.d, (copy({ M.d }))[1])
    package.loaded["spec.made_up"] = nil
    package.preload["spec.made_up"] = function() return { t = {} } end
    local new = require "spec.made_up"
    assert.equal(new, (copy({ new }))[1])
    package.loaded["spec.made_up"], package.preload["spec.made_up"] = nil, nil
  end)

  it("crosses functions of Lua that neap has replaced", function()
    local script = [[
      local old, wrap, cocreate = pcall, coroutine.wrap, coroutine.create
      require "neap"
      local core = require "neap.core.packet"
      assert(old ~= pcall)
      local a, b, c = core.copy(function() return old, wrap, cocreate end)()
      assert(a == pcall and b == coroutine.wrap and c == coroutine.create)
      assert(core.copy({ print })[1] == print)
    ]]
    local module = helper.host:gsub("neap$", "?.so")
    local command = ("LUA_CPATH='%s' lua5.4 -e '%s' 2>&1"):format(module, script)
    if not os.getenv "LD_PRELOAD" and not helper.host:find "asan" then
      local pipe <close> = io.popen(command)
      assert.equal("", pipe:read "a")
    end
  end)
end)

describe("thread.register", function()
  local Point = {}
  Point.__index = Point
  function Point.new(x) return setmetatable({ x = x }, Point) end
  function Point:double() return self.x * 2 end

  it("lets tables with that metatable cross", function()
    thread.register("spec.Point", Point)
    thread.register("spec.Point", Point)
    both(function(over)
      local p = over({ Point.new(4) })[1]
      assert.equal(Point, getmetatable(p))
      assert.equal(8, p:double())
      assert.equal(Point, (over(Point)))
      assert.equal(2, over(function(x) return Point.new(x) end)(1):double() / 1)
    end)
  end)

  it("takes one name for one metatable", function()
    thread.register("spec.Point", Point)
    assert.matches("the name 'spec.Point' is taken", catch(thread.register, "spec.Point", {}))
    assert.matches("registered as 'spec.Point'", catch(thread.register, "spec.Other", Point))
    assert.matches("bad argument #1 to '.*register'", catch(thread.register, nil, {}))
    assert.matches("bad argument #1 to '.*register'", catch(thread.register, "", {}))
    assert.matches("bad argument #2 to '.*register'", catch(thread.register, "x", nil))
  end)

  it("has to be called on both sides", function()
    thread.register("spec.Point", Point)
    local bytes = core.pack(Point.new(1)):gsub("spec%.Point", "spec.Joint")
    assert.matches("metatable 'spec.Joint' is not registered here", catch(core.unpack, bytes))
  end)

  it("was called on the other side by the module that has it", function()
    local point = require "spec.support.point"
    local other = assert(thread.start(function(p)
      local loaded = package.loaded["spec.support.point"] ~= nil
      return p:double(), p, loaded
    end, point.new(4)))
    local double, p, loaded = other:join()
    assert.equal(8, double)
    assert.is_true(loaded)
    assert.equal(8, p:double())
    assert.equal(point.Point, getmetatable(p))
  end)

  it("is not needed for a module that is the metatable", function()
    local Class = {}
    Class.__index = Class
    local object = setmetatable({ 1 }, Class)
    assert.matches("metatable has no name", catch(copy, object))
    package.loaded["spec.made_up"] = Class
    assert.equal(Class, getmetatable((copy(object))))
    package.loaded["spec.made_up"] = nil
  end)
end)

describe("bytes from another process", function()
  it("are refused when they mean nothing", function()
    for _, bytes in ipairs { "N", "NP", "NP\1", "xyz", "\0\0\0\0", "NP\1\1\0", "NP\1\1\1\9",
      "NP\1\0\0\0", "NP\1\255\255\255\255\255\255\255\255\255\1\0", "NP\1\1\255\255\3\9\0\0\0",
      "NP\1\1\0\11\5", "NP\1\1\1\8\255\255\255\15x", "NP\1\1\0\12\0" } do
      assert.matches("bad packet", catch(core.unpack, bytes))
    end
    assert.matches("of version 9, not 1", catch(core.unpack, "NP\9\1\0\3"))
    assert.matches("bad argument #1", catch(core.unpack, ""))
    assert.matches("bad argument #1", catch(core.unpack))
  end)

  it("make no table larger than they are", function()
    collectgarbage()
    local before = collectgarbage "count"
    catch(core.unpack, "NP\1\1\1\9" .. ("\xff"):rep(8) .. "\1" .. ("\xff"):rep(8) .. "\1")
    assert.is_true(collectgarbage "count" - before < 100)
  end)

  it("hold no function that was sealed with another key", function()
    local key = core.key()
    assert.equal(16, #key)
    assert.equal(key, core.key())
    local bytes = core.pack(function() return 1 end)
    assert.equal(1, core.unpack(bytes)())
    core.set_key(("k"):rep(16))
    assert.matches("a function whose seal is wrong", catch(core.unpack, bytes))
    core.set_key(key)
    assert.equal(1, core.unpack(bytes)())
    for at = 7, #bytes - 1 do
      local changed = bytes:sub(1, at - 1) .. string.char(bytes:byte(at) ~ 1) .. bytes:sub(at + 1)
      assert.matches("bad packet", catch(core.unpack, changed))
    end
    assert.matches("16 bytes", catch(core.set_key, "short"))
  end)
end)
