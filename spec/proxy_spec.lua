--- The proxy of the fault specs (spec/support/proxy.lua) does what it says.

local neap = require "neap"
local net = require "neap.net"
local core = require "neap.core.test"
local proxy = require "spec.support.proxy"

local server, seen, started

--- A server that notes what comes, echoes it, and says how it ended.
local function start_server()
  seen = {}
  server = assert(net.serve(function(stream)
    local entry = { pieces = {} }
    seen[#seen + 1] = entry
    while true do
      local data, err = stream:read_some()
      if not data then
        entry.ended = err and err.code or "end"
        break
      end
      entry.pieces[#entry.pieces + 1] = data
      stream:write(data)
    end
  end, {}))
end

local function through(faults)
  local host, port = server:address()
  local p = proxy.start(host, port, faults)
  started[#started + 1] = p
  local stream = assert(net.connect(p.host, p.port))
  started[#started + 1] = stream
  return stream, p
end

describe("the proxy", function()
  before_each(function()
    started = {}
    start_server()
  end)
  after_each(function()
    for _, one in ipairs(started) do one:close() end
    server:shutdown(0)
  end)

  it("passes everything on, and the ends of both sides", function()
    local stream = through()
    stream:write "hello":shutdown()
    assert.equal("hello", stream:read "a")
    assert.equal("end", seen[1].ended)
  end)

  it("splits", function()
    local stream = through { up = { split = 2 } }
    stream:write "abcde":shutdown()
    assert.equal("abcde", stream:read "a")
    assert.same({ "ab", "cd", "e" }, seen[1].pieces)
  end)

  it("delays", function()
    local loop = neap.get_event_loop()
    local stream = through { up = { delay = 0.02 }, down = { delay = 0.05 } }
    local before = loop:time()
    stream:write "x"
    assert.equal("x", stream:read(1))
    assert.is_true(loop:time() - before >= 0.069)
  end)

  it("turns a byte over", function()
    local stream = through { up = { split = 2, corrupt = 3 } }
    stream:write "abcd":shutdown()
    assert.equal("ab" .. string.char(0x9C) .. "d", stream:read "a")
  end)

  it("resets after so many bytes, on both sides", function()
    local stream = through { down = { reset_after = 3 } }
    stream:write "abcdef"
    assert.equal("abc", stream:read_exactly(3))
    local data, err = stream:read_some()
    assert.is_nil(data)
    assert.equal("ECONNRESET", err.code)
    while not seen[1].ended do neap.sleep(0.001) end
    assert.equal("ECONNRESET", seen[1].ended)
  end)

  it("ends one direction after so many bytes", function()
    local stream = through { down = { close_after = 2 } }
    stream:write "abcdef"
    assert.equal("ab", stream:read "a")
    stream:write "ghi":shutdown()
    while not seen[1].ended do neap.sleep(0.001) end
    assert.equal("abcdefghi", table.concat(seen[1].pieces))
  end)

  it("stalls, until it is told otherwise", function()
    local stream, p = through { up = { stall_after = 2 } }
    stream:write "abcd"
    assert.equal("ab", stream:read_exactly(2))
    core.settle()
    assert.same({ "ab" }, seen[1].pieces)
    p:set()
    assert.equal("cd", stream:read_exactly(2))
  end)

  it("drops connections", function()
    local stream, p = through { drop = true }
    assert.is_nil(stream:read "l")
    p:set { drop = "reset" }
    local other = net.connect(p.host, p.port)
    if other then
      started[#started + 1] = other
      assert.equal("ECONNRESET", select(2, other:read "l").code)
    end
    assert.equal(2, p.accepted)
    assert.same({}, seen)
  end)

  it("ends with all its connections", function()
    local stream, p = through { up = { stall_after = 0 } }
    stream:write "x"
    core.settle()
    p:close()
    assert.is_nil((stream:read "l"))
    assert.is_nil(next(p.tasks))
  end)
end)
