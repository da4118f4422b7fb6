--- Where one may wait: at any depth of Lua code.

local neap = require "neap"
local helper = require "spec.helper"

local catch, in_task, settle, closing = helper.catch, helper.in_task, helper.settle, helper.closing
local pause = helper.pause

--- Every case is run in a task, in a coroutine inside a task, and at top level.
local cases = {}

cases["in a function call, deep"] = function()
  local function down(n)
    if n == 0 then return pause "deep" end
    return (down(n - 1))
  end
  assert.equal("deep", down(150))
end

cases["in pcall"] = function()
  assert.same({ true, 1, nil, 3, n = 4 }, table.pack(pcall(pause, 1, nil, 3)))
  local ok, err = pcall(function()
    pause()
    error({ code = 5 })
  end)
  assert.is_false(ok)
  assert.equal(5, err.code)
  assert.same({ true, true, true, "x" }, { pcall(pcall, pcall, pause, "x") })
end

cases["in xpcall"] = function()
  assert.same({ true, 1, nil, n = 3 }, table.pack(xpcall(pause, print, 1, nil)))
  local ok, text = xpcall(function(...)
    pause()
    error(table.concat({ ... }, "+"), 0)
  end, function(err) return "handled " .. err end, 1, 2)
  assert.is_false(ok)
  assert.equal("handled 1+2", text)
end

cases["in metamethods"] = function()
  local meta = {
    __index = function(_, key) return pause(key) end,
    __newindex = function(self, key, value) rawset(self, key, pause(value)) end,
    __call = function(_, ...) return pause(...) end,
    __add = function() return pause "add" end,
    __sub = function() return pause "sub" end,
    __mul = function() return pause "mul" end,
    __div = function() return pause "div" end,
    __mod = function() return pause "mod" end,
    __pow = function() return pause "pow" end,
    __idiv = function() return pause "idiv" end,
    __band = function() return pause "band" end,
    __bor = function() return pause "bor" end,
    __bxor = function() return pause "bxor" end,
    __shl = function() return pause "shl" end,
    __shr = function() return pause "shr" end,
    __unm = function() return pause "unm" end,
    __bnot = function() return pause "bnot" end,
    __len = function() return pause "len" end,
    __concat = function() return pause "concat" end,
    __eq = function() return pause(true) end,
    __lt = function() return pause(true) end,
    __le = function() return pause(false) end,
  }
  local a, b = setmetatable({}, meta), setmetatable({}, meta)
  assert.equal("key", a.key)
  a.field = "value"
  assert.equal("value", rawget(a, "field"))
  assert.same({ 1, nil, 3, n = 3 }, table.pack(a(1, nil, 3)))
  assert.same({ "add", "sub", "mul", "div", "mod", "pow", "idiv" },
    { a + 1, a - 1, a * 1, a / 1, a % 1, a ^ 1, a // 1 })
  assert.same({ "band", "bor", "bxor", "shl", "shr" },
    { a & 1, a | 1, a ~ 1, a << 1, a >> 1 })
  assert.same({ "unm", "bnot", "len", "concat" }, { -a, ~a, #a, a .. "x" })
  assert.same({ true, false, true, false, false },
    { a == b, a ~= b, a < b, a <= b, a >= b })
  local s = "x" .. a .. "y" -- more than two operands at once
  assert.equal("xconcat", s)
end

cases["in an iterator"] = function()
  local sum = 0
  local function iterator(limit, i)
    i = pause(i + 1)
    if i <= limit then return i end
  end
  for i in iterator, 5, 0 do sum = sum + i end
  assert.equal(15, sum)
  local names = {}
  local list = setmetatable({}, { __pairs = function() return next, pause { a = 1 } end })
  for name in pairs(list) do names[#names + 1] = name end
  assert.same({ "a" }, names)
end

cases["in the closing value of a loop"] = function()
  local closed = false
  for i in function(_, i) return i + 1 end, nil, 0, closing(function()
    closed = pause(true)
  end) do
    if i == 3 then break end
  end
  assert.is_true(closed)
end

cases["in <close> handlers"] = function()
  local order, add = helper.log()
  local function f()
    local _a <close> = closing(function(_, err) add(pause(err == nil and "a")) end)
    local _b <close> = closing(function() add(pause "b") end)
    return pause(1, 2)
  end
  assert.same({ 1, 2 }, { f() })
  do
    local _ <close> = closing(function() add(pause "c") end)
  end
  for i = 1, 2 do
    local _ <close> = closing(function() add(pause(i)) end)
    if i == 2 then goto out end
  end
  ::out::
  assert.same({ "b", "a", "c", 1, 2 }, order)
end

cases["in <close> handlers while an error unwinds"] = function()
  local order, add = helper.log()
  local ok, err = pcall(function()
    local _a <close> = closing(function(_, e)
      pause()
      add("a " .. e)
    end)
    local _b <close> = closing(function(_, e)
      pause()
      add("b " .. e)
      error("second", 0)
    end)
    pause()
    error("first", 0)
  end)
  assert.is_false(ok)
  assert.equal("second", err)
  assert.same({ "b first", "a second" }, order)
end

cases["in a module that is required"] = function()
  local name = "spec_await_module"
  local loads = 0
  package.preload[name] = function(...)
    loads = loads + 1
    assert.equal(name, (...))
    return { value = pause "loaded" }
  end
  local module = require(name)
  package.preload[name] = nil
  assert.equal("loaded", module.value)
  assert.equal(module, require(name))
  assert.equal(1, loads)
  package.loaded[name] = nil
end

cases["in a file that is required, one more inside"] = function()
  local dir = os.tmpname()
  os.remove(dir)
  local path = package.path
  local _ <close> = closing(function()
    package.path = path
    os.remove(dir .. "_spec_outer.lua")
    os.remove(dir .. "_spec_inner.lua")
    package.loaded._spec_outer, package.loaded._spec_inner = nil, nil
  end)
  local function write(name, text)
    local file <close> = assert(io.open(dir .. name .. ".lua", "w"))
    file:write(text)
  end
  write("_spec_outer", [[
    local neap = require "neap"
    neap.sleep(0)
    local inner = require "_spec_inner"
    return { inner = inner, got = neap.sleep(0, "outer"), ... }
  ]])
  write("_spec_inner", [[ return require "neap".create_task(function()
    return require "neap".sleep(0, "inner")
  end):await() ]])
  package.path = dir .. "?.lua"
  local module, data = require "_spec_outer"
  assert.equal("inner", module.inner)
  assert.equal("outer", module.got)
  assert.same({ "_spec_outer", dir .. "_spec_outer.lua" }, { module[1], module[2] })
  assert.equal(dir .. "_spec_outer.lua", data)
end

cases["in dofile"] = function()
  local path = os.tmpname()
  do
    local file <close> = assert(io.open(path, "w"))
    file:write [[ return require "neap".sleep(0, "from the file") ]]
  end
  local got = dofile(path)
  os.remove(path)
  assert.equal("from the file", got)
end

cases["in a generator"] = function()
  local generator = coroutine.wrap(function(a)
    for i = 1, 3 do
      pause()
      a = coroutine.yield(i, a)
      a = pause(a)
    end
    return "end", a
  end)
  assert.same({ 1, "a" }, { generator "a" })
  assert.same({ 2, "b" }, { generator "b" })
  pause()
  assert.same({ 3, "c" }, { generator "c" })
  assert.same({ "end", "d" }, { generator "d" })
end

cases["in a coroutine by resume"] = function()
  local co = coroutine.create(function(...)
    local n = select("#", pause(...))
    local got = table.pack(coroutine.yield(n))
    pause()
    error(table.unpack(got))
  end)
  assert.same({ true, 3 }, { coroutine.resume(co, 1, nil, nil) })
  assert.equal("suspended", coroutine.status(co))
  local value = {}
  assert.same({ false, value }, { coroutine.resume(co, value) })
  assert.equal("dead", coroutine.status(co))
end

cases["in generators nested several deep, with both kinds of yield"] = function()
  local function numbers(n)
    return coroutine.wrap(function()
      for i = 1, n do
        pause()
        coroutine.yield(i)
      end
    end)
  end
  local function map(f, source)
    return coroutine.wrap(function()
      for x in source do coroutine.yield(f(x)) end
      pause()
    end)
  end
  local function pairwise(source)
    return coroutine.wrap(function()
      while true do
        local a = source()
        pause()
        if a == nil then return end
        coroutine.yield(a, (source()))
      end
    end)
  end
  local source = pairwise(map(function(x) return pause(x * 10) end,
    map(function(x) return x + 1 end, numbers(6))))
  local got = {}
  for a, b in source do got[#got + 1] = a .. " " .. b end
  assert.same({ "20 30", "40 50", "60 70" }, got)
end

cases["in coroutines 100 deep"] = function()
  local function down(n)
    if n == 0 then return pause "bottom" end
    local result = coroutine.wrap(down)(n - 1)
    if n % 10 == 0 then pause() end
    return result
  end
  assert.equal("bottom", down(100))
end

cases["in a coroutine that yields across pcall and wait"] = function()
  local co = coroutine.wrap(function()
    local ok, x = pcall(function()
      coroutine.yield(1)
      pause()
      coroutine.yield(2)
      error("out", 0)
    end)
    pause()
    coroutine.yield(ok, x)
    return "end"
  end)
  assert.equal(1, co())
  assert.equal(2, co())
  assert.same({ false, "out" }, { co() })
  assert.equal("end", co())
end

cases["for a task, a gather, a lock, an event"] = function()
  local lock, event = neap.Lock(), neap.Event()
  assert.equal(3, neap.create_task(pause, 3):await())
  local a, b = neap.gather(function() return pause(1) end, function()
    event:set()
    local _ <close> = lock:acquire()
    return pause(2)
  end)
  assert.same({ 1, 2 }, { a, b })
  assert.is_true(event:wait())
  local _ <close> = lock:acquire()
end

describe("waiting", function()
  local names = {}
  for name in pairs(cases) do names[#names + 1] = name end
  table.sort(names)
  for _, name in ipairs(names) do
    local case = cases[name]
    it(name .. ", in a task", function() in_task(case) end)

    it(name .. ", in a coroutine of a task", function()
      in_task(function()
        local co = coroutine.create(case)
        local ok, err = coroutine.resume(co)
        if not ok then error(err, 0) end
        assert.equal("dead", coroutine.status(co))
      end)
    end)

    it(name .. ", in many tasks at once", function()
      local list = {}
      for i = 1, 10 do list[i] = function() return case() end end
      if not name:find "required" then neap.gather(list) end
    end)

    it(name .. ", at top level", function() case() end)

    it(name .. ", in a coroutine at top level", function()
      local ok, err = coroutine.resume(coroutine.create(case))
      if not ok then error(err, 0) end
    end)
  end

  describe("a parked generator", function()
    it("is normal for others, and refused to them", function()
      local generator
      local event = neap.Event()
      local task = neap.create_task(function()
        generator = coroutine.create(function()
          event:wait()
          return "end"
        end)
        return coroutine.resume(generator)
      end)
      settle()
      for _, look in ipairs { function(f) f() end, in_task } do
        look(function()
          assert.equal("normal", coroutine.status(generator))
          local ok, err = coroutine.resume(generator)
          assert.is_false(ok)
          assert.equal("cannot resume non-suspended coroutine", err)
          assert.matches("cannot close a normal coroutine", catch(coroutine.close, generator))
        end)
      end
      event:set()
      assert.same({ true, "end" }, { task:await() })
      assert.equal("dead", coroutine.status(generator))
    end)

    it("may go on in another task once it yielded", function()
      local generator = coroutine.wrap(function()
        for i = 1, 6 do
          neap.sleep(0)
          coroutine.yield(i)
        end
      end)
      local got = {}
      for i = 1, 6 do
        if i % 3 == 0 then
          got[i] = generator()
        else
          got[i] = in_task(generator)
        end
      end
      assert.same({ 1, 2, 3, 4, 5, 6 }, got)
    end)

    it("tells the truth about itself", function()
      in_task(function()
        local own = coroutine.running()
        assert.is_false(coroutine.isyieldable())
        local co
        co = coroutine.create(function()
          assert.equal(co, (coroutine.running()))
          assert.is_true(coroutine.isyieldable())
          assert.equal("normal", coroutine.status(own))
          assert.equal("running", coroutine.status(co))
          neap.sleep(0)
          assert.equal(co, (coroutine.running()))
          assert.is_true(coroutine.isyieldable())
          assert.equal("normal", coroutine.status(own))
        end)
        assert.equal("suspended", coroutine.status(co))
        assert(coroutine.resume(co))
        assert.equal(own, (coroutine.running()))
        assert.equal("running", coroutine.status(own))
      end)
    end)
  end)

  it("with the loop driven from inside a coroutine at top level", function()
    local other = 0
    local task = neap.create_task(function()
      for _ = 1, 20 do
        other = other + 1
        neap.sleep(0)
      end
    end)
    local co = coroutine.wrap(function()
      for i = 1, 3 do
        neap.sleep(0)
        coroutine.yield(i)
      end
    end)
    assert.same({ 1, 2, 3 }, { co(), co(), co() })
    assert.is_true(other >= 3)
    task:await()
  end)
end)
