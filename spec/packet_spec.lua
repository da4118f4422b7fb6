--- What crosses to another thread or process: values, tables, errors, references. Functions
--- and names are in packet_function_spec.lua.

local neap = require "neap"
local thread = require "neap.thread"
local core = require "neap.core.packet"
local helper = require "spec.helper"
local fuzz = require "spec.fuzz.packet"

local catch, copy = helper.catch, core.copy

--- Both ways: to a thread, and as bytes to a process.
local function both(check)
  check(copy)
  check(function(...) return core.unpack(core.pack(...)) end)
end

describe("a packet", function()
  it("carries plain values exactly", function()
    both(function(cross)
      assert.equal(0, select("#", cross()))
      local values = table.pack(
        nil, true, false, 0, -8, -9, 55, 56, -1, 1 << 40, math.maxinteger, math.mininteger, 1.0,
        -0.0, 0.1, 5e-324, 1 / 0, -1 / 0, "", "a\0b", nil)
      local got = table.pack(cross(table.unpack(values, 1, values.n)))
      assert.equal(values.n, got.n)
      for i = 1, values.n do
        assert.equal(math.type(values[i]), math.type(got[i]))
        assert.equal(values[i], got[i])
      end
      assert.equal("-0.0", tostring(got[14]))
      assert.equal("1.0", tostring(got[13]))
      local nan = cross(0 / 0)
      assert.is_true(nan ~= nan)
    end)
  end)

  it("carries each length of strings, and many values", function()
    both(function(cross)
      for n = 0, 300 do
        local s = ("x"):rep(n)
        assert.equal(s, cross(s))
        local a, b, c = cross(s, n, s)
        assert.is_true(a == s and b == n and c == s)
      end
      local huge = ("0123456789abcdef"):rep(1 << 16)
      assert.is_true(cross(huge) == huge)
      local list = {}
      for i = 1, 3000 do list[i] = i end
      assert.equal(3000, select("#", cross(table.unpack(list))))
      assert.equal(3000, (select(3000, cross(table.unpack(list)))))
    end)
  end)

  it("holds a long string once, however often it comes", function()
    local s = ("s"):rep(10000)
    assert.is_true(#core.pack(s, s, { s, s, x = s, [s] = 1 }) < 10100)
    local got = copy({ s, s, { s } })
    assert.is_true(got[1] == s and got[2] == s and got[3][1] == s)
  end)

  it("carries tables: rows, holes, keys of all kinds", function()
    both(function(cross)
      assert.same({}, cross({}))
      assert.same({ 1, 2, 3 }, cross({ 1, 2, 3 }))
      assert.same({ 1, nil, 3, nil, 5 }, cross({ 1, nil, 3, nil, 5 }))
      local t = { 1, 2, x = 1, [true] = "t", [false] = "f", [1.5] = 1, [-1] = -1, [2 ^ 53] = 2,
        [""] = "", [math.mininteger] = "min", [1 / 0] = "inf" }
      assert.same(t, cross(t))
      local backwards = {}
      for i = 100, 1, -1 do backwards[i] = i end
      assert.same(backwards, cross(backwards))
      local half = {}
      for i = 1, 100 do half[i] = i end
      for i = 1, 100, 2 do half[i] = nil end
      assert.same(half, cross(half))
      local last = {}
      for i = 1, 100 do last[i] = i end
      for i = 1, 99 do last[i] = nil end
      assert.same({ [100] = 100 }, cross(last))
    end)
  end)

  it("keeps what is shared or cyclic so, within one packet", function()
    both(function(cross)
      local inner, key = { 1 }, {}
      local t = { inner, inner, deep = { inner }, [key] = key }
      t.self, t[t] = t, t
      local got, second, third = cross(t, inner, key)
      assert.is_true(got ~= t and got.self == got and got[got] == got)
      assert.is_true(got[1] == got[2] and got.deep[1] == got[1] and second == got[1])
      assert.equal(third, got[third])
      got[1][1] = 2
      assert.equal(1, inner[1])
      assert.is_true((cross(inner)) ~= (cross(inner)))
    end)
  end)

  it("goes a million tables deep", function()
    local n = helper.many(1000000) -- the C stack would be gone long before
    local top = {}
    local t = top
    for _ = 1, n do
      t.n = {}
      t = t.n
    end
    local got, depth = copy(top), 0
    while got.n do
      got, depth = got.n, depth + 1
    end
    assert.equal(n, depth)
  end)

  it("does not look at metamethods", function()
    local t = setmetatable({ 1, 2 }, neap.Error)
    rawset(neap.Error, "__pairs", function() error "called" end)
    local ok, got = pcall(copy, t)
    rawset(neap.Error, "__pairs", nil)
    assert.is_true(ok and #got == 2)
  end)

  it("may be written by finalizers, while another is", function()
    local co, n = coroutine.create(print), 0
    local function arm()
      setmetatable({}, { __gc = function()
        n = n + 1
        local list = {}
        for i = 1, 30 do list[i] = { i } end
        assert(copy(list)[30][1] == 30)
        assert(catch(copy, { x = { co } }):find("value 1.x[1]: a coroutine", 1, true))
        if n < 100 then arm() end
      end })
    end
    local stopped = not collectgarbage "isrunning"
    collectgarbage "restart"
    local pause = collectgarbage("setpause", 0)
    for _ = 1, 10 do arm() end
    for turn = 1, 5 do
      local list = {}
      for i = 1, 40 do
        list[i] = { i, s = ("x"):rep(200) .. i, f = function() return turn, i end }
      end
      local got = copy(list)
      for i = 1, 40 do
        local a, b = got[i].f()
        assert(got[i][1] == i and got[i].s == list[i].s and a == turn and b == i)
      end
      list[41] = { deep = { er = { co } } }
      assert.equal("value 1[41].deep.er[1]: a coroutine cannot cross to another thread",
        catch(copy, list))
    end
    collectgarbage("setpause", pause)
    collectgarbage()
    if stopped then collectgarbage "stop" end
    assert.is_true(n >= 10)
  end)

  it("is the same for random values, and any bytes are values or an error", function()
    for seed = 1, helper.many(150) do fuzz.run(seed) end
  end)
end)

describe("an error that crosses", function()
  it("keeps its class, fields and cause", function()
    both(function(cross)
      for _, name in ipairs { "Error", "OSError", "CancelledError", "TimeoutError",
        "BrokenExecutor", "QueueShutDown" } do
        local err = neap[name]("message")
        err.code, err.cause = "ECODE", neap.Error("inner")
        local got = cross(err)
        assert.is_true(neap[name]:is(got) and got ~= err)
        assert.equal(tostring(err), tostring(got))
        assert.equal("ECODE", got.code)
        assert.equal("inner", got.cause.message)
      end
    end)
  end)

  it("may be a group, with what is in it", function()
    both(function(cross)
      local group = neap.ExceptionGroup("all", { neap.OSError("one"), "two",
        neap.ExceptionGroup("more", { neap.TimeoutError() }) })
      local got = cross(group)
      assert.is_true(neap.ExceptionGroup:is(got))
      assert.equal(tostring(group), tostring(got))
      assert.is_true(neap.TimeoutError:is(got.errors[3].errors[1]))
    end)
  end)

  it("is a class by itself, too", function()
    both(function(cross) assert.equal(neap.OSError, cross(neap.OSError)) end)
  end)

  it("comes with its traceback; as text where it cannot cross", function()
    local err, traceback = core.copy_error(neap.OSError("x"), "traceback")
    assert.is_true(neap.OSError:is(err))
    assert.equal("traceback", traceback)
    err, traceback = core.copy_error({ coroutine.create(print) }, nil)
    assert.matches("^table: ", err)
    assert.is_nil(traceback)
    err = core.copy_error(setmetatable({}, { __tostring = function() return "my text" end }), "tb")
    assert.equal("my text", err)
    err, traceback = core.unpack(core.pack_error(coroutine.create(print), "tb"))
    assert.matches("^thread: ", err)
    assert.equal("tb", traceback)
  end)
end)

describe("what cannot cross", function()
  local co = coroutine.create(print)
  local foreign = setmetatable({}, {})

  local CASES = {
    { "value 1: a coroutine cannot cross to another thread", co },
    { "value 2.handlers[3]: a coroutine cannot", 1, { handlers = { 1, 2, co } } },
    { 'value 1["two words"][1.5][true]: a coroutine cannot',
      { ["two words"] = { [1.5] = { [true] = co } } } },
    { "value 1[\"" .. ("k"):rep(40) .. "...\"]: a", { [("k"):rep(100)] = co } },
    { "value 1[a table]: a coroutine cannot", { [{}] = co } },
    { [[value 1["a\000\"\010"]: a coroutine cannot]], { ["a\0\"\n"] = co } },
    { "value 1: a coroutine as a key cannot", { [co] = 1 } },
    { "value 1.x (a key).y: a coroutine cannot", { x = { [{ y = co }] = 1 } } },
    { "value 1: a table whose metatable has no name there (see thread.register) cannot", foreign },
    { "value 1.a.b: a table whose metatable", { a = { b = foreign } } },
    { "value 1.f: a userdata (FILE*) cannot", { f = io.tmpfile() } },
    { "value 1[1]: a userdata (neap.Future) cannot", { neap.Future() } },
    { "value 1.g: a C function that no loaded module has as a field cannot",
      { g = string.gmatch("a", "b") } },
    { "value 1.f (upvalue 'co'): a coroutine cannot", { f = function() return co end } },
  }
  local list = { { co } }
  CASES[#CASES + 1] = { "value 1 (upvalue 'list')[1][1]: a coroutine", function() return list end }

  for i, case in ipairs(CASES) do
    it(("raises where it is: %d, %s"):format(i, case[1]), function()
      local err = catch(copy, table.unpack(case, 2))
      assert.equal(case[1], err:sub(1, #case[1]))
    end)
  end

  it("is where the ends of a long path say", function()
    local top = { first = {} }
    local t = top.first
    for _ = 1, 1000 do
      t.n = {}
      t = t.n
    end
    t.last = { co }
    local dots = (".n"):rep(9)
    assert.equal("value 1.first" .. dots .. "..." .. dots .. ".last[1]:",
      catch(copy, top):match "^.-:")
  end)

  it("leaves nothing behind: the next packet is as always", function()
    local many = {}
    for i = 1, 5000 do many[i] = { i } end
    many[#many + 1] = co
    assert.matches("^value 1%[5001%]: ", catch(copy, many))
    many[#many] = nil
    assert.equal(5000, #copy(many))
    assert.same({ 1, { 2 } }, copy({ 1, { 2 } }))
  end)

  it("is collected all the same", function()
    local weak = setmetatable({}, { __mode = "k" })
    do
      local many = {}
      for i = 1, 100 do many[i] = { i } end
      weak[many], weak[many[50]] = true, true
      copy(many)
      many[101] = co
      catch(copy, many)
    end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("is named by the words of who packs", function()
    assert.matches("^argument 2%.x: a coroutine cannot cross to another process",
      catch(core.pack_as, "argument", 1, { x = co }))
    assert.matches("^message%.x: ", catch(core.pack_as, "message:", { x = co }))
  end)
end)

describe("a reference", function()
  it("stays the same thing in a thread", function()
    local channel, buffer = thread.Channel(3), thread.Buffer(10)
    local t = copy({ channel, channel, { buffer } })
    assert.is_true(rawequal(t[1], channel) and rawequal(t[2], channel))
    assert.is_true(rawequal(t[3][1], buffer))
    assert.is_true(rawequal((copy(channel)), channel))
    local loop = neap.get_event_loop()
    assert.is_true(rawequal((copy(loop)), loop))
    channel:close()
  end)

  it("does not cross to another process", function()
    local channel = thread.Channel(3)
    assert.matches("^value 1%.c: a userdata %(.*Channel%) cannot cross to another process",
      catch(core.pack, { c = channel }))
    channel:close()
  end)

  it("is let go of when something else cannot cross", function()
    local channel = thread.Channel(3)
    for _ = 1, 3 do
      assert.matches("coroutine", catch(copy, { channel, channel, coroutine.create(print) }))
    end
    assert.is_true(rawequal((copy(channel)), channel))
    channel:close()
  end)
end)
