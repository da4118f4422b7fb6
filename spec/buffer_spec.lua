--- thread.Buffer: bytes that threads share.

local neap = require "neap"
local thread = require "neap.thread"
local helper = require "spec.helper"
local catch = helper.catch

local Buffer = thread.Buffer

describe("a buffer", function()
  it("has a size and zeros, or the bytes of a string", function()
    local buf = Buffer(5)
    assert.equal(5, #buf)
    assert.equal("\0\0\0\0\0", buf:sub())
    buf = Buffer "a\0b"
    assert.equal(3, #buf)
    assert.equal("a\0b", buf:sub(1))
    assert.equal(0, #Buffer(0))
    assert.equal("", Buffer(""):sub())
    assert.equal(2, #Buffer(2.0))
    assert.equal("12", Buffer("12"):sub())
  end)

  it("says what it is", function()
    assert.matches("^<Buffer of 7 bytes: 0x%x+>$", tostring(Buffer(7)))
  end)

  it("is equal to itself alone", function()
    local a, b = Buffer "x", Buffer "x"
    assert.is_true(a == a)
    assert.is_false(a == b)
  end)

  it("gives the ranges that string.sub gives", function()
    local text = "abcdef"
    local buf = Buffer(text)
    local ends = { math.mininteger, -8, -7, -6, -5, -1, 0, 1, 2, 5, 6, 7, 8, math.maxinteger }
    for _, i in ipairs(ends) do
      assert.equal(text:sub(i), buf:sub(i))
      for _, j in ipairs(ends) do
        assert.equal(text:sub(i, j), buf:sub(i, j), i .. ", " .. j)
      end
    end
    assert.equal("", Buffer(0):sub(1, -1))
  end)

  it("writes strings in a row, and says where the next would go", function()
    local buf = Buffer "........"
    assert.equal(6, buf:write(3, "a", "", 12))
    assert.equal("..a12...", buf:sub())
    assert.equal(9, buf:write(8, "z"))
    assert.equal("..a12..z", buf:sub())
    assert.equal(9, buf:write(9, ""))
  end)

  it("writes all of it or nothing", function()
    local buf = Buffer "abcd"
    for _, pos in ipairs { 4, 5, 0, -1, 6, math.maxinteger, math.mininteger } do
      assert.matches("outside the buffer", catch(buf.write, buf, pos, "x", "y"))
    end
    assert.matches("outside the buffer", catch(buf.write, buf, 6, ""))
    assert.matches("string expected", catch(buf.write, buf, 1, "x", {}))
    assert.equal("abcd", buf:sub())
  end)

  it("fills ranges", function()
    local buf = Buffer(6)
    buf:fill(97)
    assert.equal("aaaaaa", buf:sub())
    buf:fill(98, 2, 3)
    buf:fill(0x99, -1)
    buf:fill(99, 5, 4)
    buf:fill(99, 7, 9)
    assert.equal("abbaa\x99", buf:sub())
    assert.matches("byte out of range", catch(buf.fill, buf, 256))
    assert.matches("byte out of range", catch(buf.fill, buf, -1))
  end)

  it("gives and takes numbers in the formats of string.pack", function()
    local buf = Buffer(64)
    assert.equal(14, buf:set(2, "<i4 d", -7, 1.5))
    assert.same({ -7, 1.5, 14 }, { buf:get("<i4 d", 2) })
    assert.equal(string.pack("<i4 d", -7, 1.5), buf:sub(2, 13))
    assert.equal(29, buf:set(20, "s1 z", "abcd", "efg"))
    assert.same({ "abcd", "efg", 29 }, { buf:get("s1 z", 20) })
    assert.same({ 1 }, { buf:get "" })
    assert.equal(65, buf:set(57, "j", math.mininteger))
    assert.same({ math.mininteger, 65 }, { buf:get("j", 57) })
  end)

  it("aligns numbers by their place in the buffer", function()
    local buf = Buffer(64)
    for pos = 1, 40 do
      local size = (">!8 I1 I8"):packsize()
      local after = buf:set(pos, ">!8 I1 I8 I1", 1, pos, 3)
      assert.same({ 1, pos, 3, after }, { buf:get(">!8 I1 I8 I1", pos) })
      assert.same({ 1, pos, 3, after }, { (">!8 I1 I8 I1"):unpack(buf:sub(), pos) })
      assert.is_true(after <= pos + size + 8)
    end
  end)

  it("refuses formats that are wrong or do not fit", function()
    local buf = Buffer(8)
    assert.matches("outside the buffer", catch(buf.set, buf, 2, "i8", 1))
    assert.matches("outside the buffer", catch(buf.set, buf, 10, ""))
    assert.matches("outside the buffer", catch(buf.get, buf, "i8", 2))
    assert.matches("outside the buffer", catch(buf.get, buf, "i1", 9))
    assert.matches("outside the buffer", catch(buf.get, buf, "i1", 0))
    assert.matches("outside the buffer", catch(buf.get, buf, "i1", 10))
    assert.matches("data string too short", catch(buf.get, Buffer "\9a", "s1"))
    assert.matches("invalid format", catch(buf.get, buf, "k"))
    assert.matches("invalid format", catch(buf.set, buf, 1, "k", 1))
    assert.matches("number expected", catch(buf.set, buf, 1, "i4", {}))
    assert.matches("overflow", catch(buf.set, buf, 1, "i1", 300))
    local _, message = pcall(function() buf:set(1, "i4", {}) end)
    assert.matches("^[^:]*buffer_spec.lua:%d+: ", message)
    assert.equal(("\0"):rep(8), buf:sub())
  end)

  it("counts", function()
    local buf = Buffer(24)
    assert.equal(5, buf:add(1, 5))
    assert.equal(6, buf:add(1))
    assert.equal(-4, buf:add(17, -4))
    assert.same({ 6, 0, -4, 25 }, { buf:get("i8 i8 i8") })
    buf:set(9, "i8", math.maxinteger)
    assert.equal(math.mininteger, buf:add(9, 1))
    assert.matches("not aligned", catch(buf.add, buf, 2, 1))
    assert.matches("outside the buffer", catch(buf.add, buf, 25, 1))
    assert.matches("outside the buffer", catch(buf.add, buf, 18, 1))
    assert.matches("outside the buffer", catch(buf.add, buf, 0, 1))
    assert.matches("no integer representation", catch(buf.add, buf, 1, 1.5))
  end)

  it("refuses other arguments", function()
    assert.matches("size or string expected, got no value", catch(Buffer))
    assert.matches("size or string expected, got table", catch(Buffer, {}))
    assert.matches("no integer representation", catch(Buffer, 1.5))
    assert.matches("size out of range", catch(Buffer, -1))
    assert.matches("size out of range", catch(Buffer, math.maxinteger))
    local buf = Buffer(4)
    for _, name in ipairs { "sub", "write", "fill", "get", "set", "add" } do
      assert.matches("Buffer expected, got table", catch(buf[name], {}))
      assert.matches("Buffer expected, got FILE", catch(buf[name], io.stdout))
    end
    assert.matches("string expected", catch(buf.write, buf, 1))
    assert.is_nil(buf.unknown)
    assert.is_false(pcall(function() buf.x = 1 end))
  end)

  it("raises when there is no memory", function()
    if helper.host:find "[at]san" then return end -- they end the process
    local ok, message = pcall(Buffer, 1 << 60)
    assert.is_false(ok)
    assert.matches("not enough memory", message)
  end)

  it("is collected, and tells the collector of its size", function()
    local weak = setmetatable({}, { __mode = "v" })
    weak[1] = Buffer(100)
    collectgarbage()
    collectgarbage()
    assert.is_nil(weak[1])
    local was_running, freed = collectgarbage "isrunning", false
    setmetatable({}, { __gc = function() freed = true end })
    collectgarbage "stop"
    for _ = 1, 200 do Buffer(1 << 16) end
    assert.is_false(collectgarbage "isrunning")
    assert.is_false(freed)
    collectgarbage "restart"
    for _ = 1, 10000 do
      if freed then break end
      Buffer(1 << 16)
    end
    if not was_running then collectgarbage "stop" end
    assert.is_true(freed)
  end)
end)

describe("a buffer in two threads", function()
  it("is the same bytes", function()
    local buf = Buffer(16)
    local t = thread.start(function(b)
      b:write(1, "there")
      return b, #b, b == b
    end, buf)
    local same, size, equal = t:join()
    assert.equal(buf, same)
    assert.equal(16, size)
    assert.is_true(equal)
    assert.equal("there\0", buf:sub(1, 6))
  end)

  it("outlives the thread that made it", function()
    local t = thread.start(function()
      local b = require "neap.thread".Buffer "made there"
      return { b, b }
    end)
    local pair = t:join()
    assert.equal("made there", pair[1]:sub())
    assert.equal(pair[1], pair[2])
  end)

  it("counts each addition once", function()
    local buf, n, list = Buffer(8), 20000, {}
    local function count(b, times)
      for _ = 1, times do b:add(1, 1) end
    end
    for i = 1, 3 do list[i] = thread.start(count, buf, n) end
    count(buf, n)
    for i = 1, 3 do list[i]:join() end
    assert.equal(4 * n, buf:get("j"))
  end)

  it("never shows half of a write", function()
    local buf, size = Buffer(4096), 4096
    local t = thread.start(function(b, n)
      for i = 1, 2000 do b:fill(i % 256) end
      b:write(1, ("a"):rep(n - 1), "b")
    end, buf, size)
    while t:is_alive() do
      local text = buf:sub()
      local last = text:byte(size)
      if last ~= 98 then assert.equal(string.char(last):rep(size), text) end
      neap.sleep(0)
    end
    t:join()
    assert.equal(("a"):rep(size - 1) .. "b", buf:sub())
  end)
end)
