--- stream:pipe: copying from one stream to another.

local neap = require "neap"
local net = require "neap.net"
local test = require "neap.test"
local helper = require "spec.helper"

local catch, start = helper.catch, helper.start

local pair = require "spec.support.kept"(before_each, after_each).pair

local MUCH = ("0123456789abcdef"):rep(1 << 17) -- 2 MB

describe("stream:pipe", function()

  it("copies all that comes, to the end", function()
    local a, b = pair()
    local c, d = pair()
    local copy = start(b.pipe, b, c)
    a:write "one\n"
    assert.equal("one", d:read())
    local writer = start(function()
      a:write(MUCH)
      a:shutdown()
    end)
    assert.is_true(d:read_exactly(#MUCH) == MUCH)
    writer:await()
    assert.equal(#MUCH + 4, copy:await())
    -- The end is not passed on.
    c:write "more\n"
    assert.equal("more", d:read())
  end)

  it("begins with what was read already", function()
    local a, b = pair()
    local c, d = pair()
    a:write("head\nrest")
    a:shutdown()
    assert.equal("head", b:read())
    assert.equal(4, b:pipe(c))
    assert.equal("rest", d:read(4))
    assert.equal(0, b:pipe(c))
  end)

  it("sends back to where it comes from", function()
    local a, b = pair()
    local echo = start(b.pipe, b, b)
    local sender = start(function()
      a:write(MUCH)
      a:shutdown()
    end)
    assert.is_true(a:read_exactly(#MUCH) == MUCH)
    sender:await()
    assert.equal(#MUCH, echo:await())
  end)

  it("collects several in one", function()
    local a, b = pair()
    local c, d = pair()
    local e, f = pair()
    local one, two = start(b.pipe, b, e), start(d.pipe, d, e)
    local writers = start(function()
      neap.gather(function() a:write(("a"):rep(500000)):shutdown() end,
        function() c:write(("c"):rep(500000)):shutdown() end)
    end)
    local all = f:read_exactly(1000000)
    writers:await()
    assert.equal(500000, one:await())
    assert.equal(500000, two:await())
    assert.equal(500000, select(2, all:gsub("a", "")))
  end)

  it("goes as fast as the slower side", function()
    local a, b = pair()
    local c, d = pair()
    local copy = start(b.pipe, b, c)
    local writer = start(a.write, a, MUCH .. MUCH .. MUCH)
    for _ = 1, 30 do neap.sleep(0.001) end
    assert.is_false(writer:done())
    assert.is_true(c:pending() < 300000, c:pending())
    d:read_exactly(3 * #MUCH)
    writer:await()
    a:shutdown()
    assert.equal(3 * #MUCH, copy:await())
  end)

  it("can be cancelled, and what was not copied is there", function()
    local a, b = pair()
    local c, d = pair()
    local copy = start(b.pipe, b, c)
    a:write "one\n"
    assert.equal("one", d:read())
    copy:cancel()
    assert.is_true(helper.is_cancelled(catch(copy.await, copy)))
    a:write "two\n"
    assert.equal("two", b:read())
  end)

  it("says when the other side is gone", function()
    local a, b = pair()
    local c, d = pair()
    local copy = start(b.pipe, b, c)
    d:abort()
    a:write "x"
    neap.sleep(0.001)
    a:write "y"
    local value, err = copy:await()
    assert.is_nil(value)
    assert.equal("EPIPE", err.code)
  end)

  it("ends when either is closed", function()
    for _, which in ipairs { 1, 2 } do
      local a, b = pair()
      local c = pair()
      local copy = start(b.pipe, b, c)
      if which == 1 then b:close() else c:close() end
      local value, err = copy:await()
      assert.is_nil(value)
      assert.equal("EBADF", err.code)
      a:close()
    end
  end)

  it("is the only reader", function()
    local _, b = pair()
    local c = pair()
    local copy = start(b.pipe, b, c)
    assert.matches("another task is reading", catch(b.read, b))
    assert.matches("another task is reading", catch(b.pipe, b, c))
    copy:cancel()
    pcall(copy.await, copy)
  end)

  it("wants streams that are open", function()
    local a, b = pair()
    assert.matches("Stream", catch(a.pipe, a, "x"))
    b:shutdown()
    assert.matches("not open for writing", catch(a.pipe, a, b))
    b:close()
    assert.matches("closed stream", catch(a.pipe, a, b))
  end)

  it("survives a cancellation at each of its waits", function()
    assert.is_true(test.cancel_sweep(function()
      local streams = table.pack(net.pair())
      streams[3], streams[4] = net.pair()
      local _close <close> = helper.closing(function()
        for _, s in ipairs(streams) do s:abort() end
      end)
      local group <close> = neap.TaskGroup()
      group:create_task(function()
        streams[1]:write(MUCH)
        streams[1]:shutdown()
      end)
      group:create_task(function() streams[4]:read_exactly(#MUCH) end)
      assert(streams[2]:pipe(streams[3]) == #MUCH)
    end) >= 1)
  end)
end)
