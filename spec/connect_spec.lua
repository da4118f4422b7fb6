--- Connecting: one address, several (RFC 8305), Unix sockets.

local neap = require "neap"
local net = require "neap.net"
local process = require "neap.process"
local test = require "neap.test"
local helper = require "spec.helper"
local unused = require("spec.support.port").unused

local catch, start, in_task = helper.catch, helper.start, helper.in_task

local keep = require "spec.support.kept"(before_each, after_each).keep

--- A listener, and its port.
local function listen(host, port, backlog)
  local listener = keep(net.listen { host = host, port = port, backlog = backlog })
  return listener, select(2, listener:address())
end

--- Makes an address dead: a listener there has a backlog of one that is full, and the
--- system drops what else comes.
local function dead(host, port)
  local listener
  host = host or "127.0.0.1"
  listener, port = listen(host, port, 0)
  keep(net.connect(host, port))
  return port, listener
end

local function clock()
  local loop = neap.get_event_loop()
  local began = loop:time()
  return function() return loop:time() - began end
end

describe("neap.net.connect", function()
  it("says why it cannot, and to where", function()
    local port = unused()
    for _, run in ipairs { helper.direct, in_task } do
      local stream, err = run(net.connect, "127.0.0.1", port)
      assert.is_nil(stream)
      assert.is_true(neap.OSError:is(err))
      assert.same({ "ECONNREFUSED", "connect" }, { err.code, err.op })
      assert.equal(("connect to 127.0.0.1:%d: connection refused"):format(port), err.message)
    end
    local _, err = net.connect("::1", port)
    assert.equal(("connect to [::1]:%d: connection refused"):format(port), err.message)
  end)

  it("can be bound to an address and a port of this side", function()
    local listener, port = listen()
    local own = unused()
    local stream = keep(net.connect("127.0.0.1", port, { local_addr = "127.0.0.2" }))
    assert.equal("127.0.0.2", (stream:address()))
    assert.equal("127.0.0.2", (keep(listener:accept()):peer()))
    stream = keep(net.connect("127.0.0.1", port, { local_addr = { "127.0.0.3", own } }))
    assert.same({ "127.0.0.3", own }, { stream:address() })
    local none, err = net.connect("127.0.0.1", port, { local_addr = "192.0.2.1" })
    assert.is_nil(none)
    assert.equal("EADDRNOTAVAIL", err.code)
    none, err = net.connect("127.0.0.1", port, { local_addr = "::1" })
    assert.is_nil(none)
    assert.equal("EAFNOSUPPORT", err.code)
  end)

  it("is not taken in by a connection with itself", function()
    local port = unused()
    local stream, err = net.connect("127.0.0.1", port, { local_addr = { "127.0.0.1", port } })
    assert.is_nil(stream)
    assert.equal("ECONNREFUSED", err.code)
  end)

  it("connects to a name", function()
    local listener, port = listen()
    keep(net.connect("localhost", port))
    keep(listener:accept())
    keep(net.connect("localhost", port, { family = "inet", timeout = 5 }))
    local none, err = net.connect("no..name", port)
    assert.is_nil(none)
    assert.is_true(neap.OSError:is(err))
  end)

  it("can be cancelled and timed out while nobody answers", function()
    local port = dead()
    local before = helper.descriptors()
    local task = start(net.connect, "127.0.0.1", port)
    assert.matches("neap.net.connect", tostring(task))
    task:cancel()
    neap.wait { task }
    assert.is_true(task:cancelled())
    for _, run in ipairs { helper.direct, in_task } do
      local elapsed = clock()
      local err = catch(run, net.connect, "127.0.0.1", port, { timeout = 0.02 })
      assert.is_true(neap.TimeoutError:is(err))
      assert.is_true(elapsed() < 5)
      assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, net.connect, 0.01, "127.0.0.1",
        port)))
    end
    assert.is_true(neap.TimeoutError:is(catch(net.connect, "127.0.0.1", port, { timeout = 0 })))
    helper.await_descriptors(before)
  end)

  it("is interrupted by Ctrl-C while nobody answers", function()
    local port = dead()
    local result = helper.run(([[
      local neap, net = require "neap", require "neap.net"
      local _guard <close> = setmetatable({}, { __close = function() print "left" end })
      local pipe = io.popen "sleep 0.1; kill -INT $PPID"
      net.connect("127.0.0.1", %d)
    ]]):format(port))
    assert.same({ 130, "left\n" }, { result.code, result.out })
  end)

  it("closes a connection that was made in the turn of the cancellation", function()
    local listener, port = listen()
    for _ = 1, 20 do
      local task = neap.create_task(net.connect, "127.0.0.1", port)
      local accepted = listener:accept() -- loopback: both ends are there now
      task:cancel()
      neap.wait { task }
      if not task:cancelled() then task:result():close() end
      assert.is_nil((accepted:read()))
      accepted:close()
    end
  end)

  it("refuses wrong arguments by name", function()
    local function fails(...) return catch(net.connect, ...) end
    assert.matches("#1 to 'neap.net.connect' %(non%-empty string expected, got nil%)", fails())
    assert.matches("#1 .*got \"\"", fails("", 80))
    assert.matches("#2 to 'neap.net.connect' %(integer from 0 to 65535 expected, got nil%)",
      fails "localhost")
    assert.matches("#2 .*got 65536", fails("localhost", 65536))
    assert.matches("#2 .*got \"80\"", fails("localhost", "80"))
    assert.matches("#3 .*table expected, got number", fails("localhost", 80, 1))
    assert.matches("unknown option 'timeuot' to 'neap.net.connect'",
      fails("localhost", 80, { timeuot = 1 }))
    assert.matches("'timeout' to 'neap.net.connect' %(seconds expected, got %-1%)",
      fails("localhost", 80, { timeout = -1 }))
    assert.matches("'timeout' .*got NaN", fails("localhost", 80, { timeout = 0 / 0 }))
    assert.matches("'nodelay' .*boolean expected, got 1", fails("localhost", 80, { nodelay = 1 }))
    assert.matches("'keepalive' .*at least 1 expected, got 0", fails("a", 80, { keepalive = 0 }))
    assert.matches("'tls' .*boolean, table or TLS context expected",
      fails("localhost", 80, { tls = 1 }))
    assert.matches("'local_addr' .*got \"my host\"", fails("a", 80, { local_addr = "my host" }))
    assert.matches("'local_addr' .*numeric address", fails("localhost", 80, { local_addr = 1 }))
    assert.matches("'local_addr'", fails("a", 80, { local_addr = { "::1", -1 } }))
    assert.matches("'addresses' .*got \"localhost\"",
      fails("localhost", 80, { addresses = { "localhost" } }))
    assert.matches("'addresses' .*is empty", fails("localhost", 80, { addresses = {} }))
    assert.matches("no path in 'unix:'", fails "unix:")
    assert.matches("unknown option 'x' to", fails("unix:/tmp", { x = 1 }))
    assert.matches("unknown option 'x' to", fails("unix:/tmp", nil, { x = 1 }))
    assert.matches("#2 .*a Unix socket has no port", fails("unix:/tmp", 80, {}))
    assert.matches("#2 .*table expected, got number", fails("unix:/tmp", 80))
    local here = "^[^:]*connect_spec.lua:%d+:"
    assert.matches(here, catch(function() local _ = net.connect("localhost", 65536) end))
    assert.matches(here, catch(function() local _ = net.connect("a", 1, { x = 1 }) end))
    assert.matches(here, catch(function() local _ = net.connect("a", 1, { local_addr = 1 }) end))
  end)

  it("refuses to wait in a callback", function()
    local future = neap.Future()
    neap.get_event_loop():call_soon(function()
      future:set_result(catch(net.connect, "127.0.0.1", 1))
    end)
    assert.matches("cannot wait in 'neap.net.connect' inside a loop callback", future:await())
  end)

  it("leaves nothing behind after many connections and refusals", function()
    local listener, port = listen()
    local nobody = unused()
    local before = helper.descriptors()
    local server = start(function()
      while true do
        local stream = listener:accept()
        if not stream then return end
        stream:close()
      end
    end)
    for i = 1, helper.many(2000) do
      local stream <close> = assert(net.connect("127.0.0.1", port))
      if i % 10 == 0 then
        stream:write "x"
        assert.is_nil((net.connect("127.0.0.1", nobody)))
      end
    end
    helper.await_descriptors(before)
    listener:close()
    server:await()
  end)
end)

describe("neap.net.connect to a Unix socket", function()
  local path

  before_each(function() path = os.tmpname() .. ".sock" end)
  after_each(function()
    os.remove(path)
    os.remove((path:gsub("%.sock$", "")))
  end)

  it("says why it cannot, and to where", function()
    local stream, err = net.connect("unix:" .. path)
    assert.is_nil(stream)
    assert.equal("ENOENT", err.code)
    assert.equal(("connect to unix:%s: no such file or directory"):format(path), err.message)
    stream, err = net.connect "unix:\0neap nobody"
    assert.is_nil(stream)
    assert.equal("connect to unix:@neap nobody: connection refused", err.message)
  end)

  it("waits while the backlog is full, until there is room or no time left", function()
    local listener = keep(net.listen("unix:" .. path, { backlog = 0 }))
    keep(net.connect("unix:" .. path))
    assert.is_true(neap.TimeoutError:is(catch(net.connect, "unix:" .. path, { timeout = 0.005 })))
    local task = start(net.connect, "unix:" .. path)
    assert.is_false(task:done())
    keep(listener:accept())
    keep(task:await())
  end)
end)

describe("neap.net.connect to socat", function()
  --- Starts it, says a line to what it runs, and ends it.
  local function try(where, ...)
    local _socat <close> = assert(process.spawn { "socat", where, "EXEC:cat", stdin = "null" })
    local stream
    repeat -- until it is there
      stream = net.connect(...)
      if not stream then neap.sleep(0.002) end
    until stream
    local _stream <close> = stream
    stream:write "hello\n"
    assert.equal("hello", stream:read())
    stream:shutdown()
    assert.is_nil((stream:read()))
  end

  it("by TCP", function()
    local port = unused()
    try(("TCP-LISTEN:%d,bind=127.0.0.1,reuseaddr"):format(port), "127.0.0.1", port)
  end)

  it("by a path and by an abstract name", function()
    local path = os.tmpname()
    os.remove(path)
    try("UNIX-LISTEN:" .. path, "unix:" .. path)
    os.remove(path)
    local name = ("neap-%d"):format(unused())
    try("ABSTRACT-LISTEN:" .. name, "unix:\0" .. name)
  end)
end)

describe("neap.net.connect with several addresses", function()
  --- opts for addresses 127.0.0.1 and on.
  local function loopback(n, delay)
    local list = {}
    for i = 1, n do list[i] = "127.0.0." .. i end
    return { addresses = list, happy_eyeballs_delay = delay }
  end

  it("passes over one of an interface that is not there", function()
    local stream, err = net.connect("fe80::1%nowhere", 80)
    assert.is_nil(stream)
    assert.equal("ENODEV", err.code)
    assert.matches("^connect to %[fe80::1%%nowhere%]:80: ", err.message)
    local _, other = net.connect("::1", 80, { local_addr = "fe80::1%nowhere" })
    assert.equal("ENODEV", other.code)
    local server <close> = assert(net.listen())
    local _, port = server:address()
    local good <close> = assert(net.connect("host", port,
      { addresses = { "fe80::1%nowhere", "127.0.0.1" } }))
    assert.equal("127.0.0.1", (good:peer()))
  end)

  it("takes the first where it answers, and does not try the others", function()
    local first, port = listen("127.0.0.1", unused())
    local second = listen("127.0.0.2", port)
    local stream = keep(net.connect("example", port, loopback(2, 60)))
    assert.equal("127.0.0.1", (stream:peer()))
    keep(first:accept())
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, second.accept, 0.01, second)))
  end)

  it("goes on at once when one refuses", function()
    local _, port = listen("127.0.0.3", unused())
    local stream = keep(net.connect("example", port, loopback(3, 600)))
    assert.equal("127.0.0.3", (stream:peer()))
  end)

  it("goes on after the delay when one does not answer", function()
    local port = dead("127.0.0.1", unused())
    listen("127.0.0.2", port)
    for _, run in ipairs { helper.direct, in_task } do
      local elapsed = clock()
      local stream = keep(run(net.connect, "example", port, loopback(2, 0.03)))
      assert.equal("127.0.0.2", (stream:peer()))
      assert.is_true(elapsed() >= 0.029)
    end
  end)

  it("does not give up one that has not answered because a later one failed", function()
    local port, listener = dead("127.0.0.1", unused())
    local opts = loopback(2, 0.001)
    opts.timeout = 0.03
    assert.is_true(neap.TimeoutError:is(catch(net.connect, "example", port, opts)))
    listener:close() -- now both refuse
    opts.timeout = nil
    local _, err = net.connect("example", port, opts)
    assert.equal("ECONNREFUSED", err.code)
  end)

  it("closes the connections that come second", function()
    local first, port = listen("127.0.0.1", unused())
    local listeners = { first, (listen("127.0.0.2", port)), (listen("127.0.0.3", port)) }
    for _ = 1, 20 do
      local stream = keep(net.connect("example", port, loopback(3, 0)))
      local winner, own = stream:peer(), select(2, stream:address())
      for i, listener in ipairs(listeners) do
        local alive = "127.0.0." .. i == winner -- this one has the stream, sooner or later
        while true do
          -- The others were made as well, or have not got so far.
          local limit = not alive and 0.002 or nil
          local ok, other = pcall(neap.wait_for, listener.accept, limit, listener)
          if not ok then break end
          keep(other)
          if alive and select(2, other:peer()) == own then
            alive = false
          else
            local data, err = other:read "a"
            assert.is_true(data == "" or err ~= nil)
          end
        end
      end
      stream:abort()
    end
  end)

  it("lets the families take turns", function()
    local order = {}
    local port = unused()
    local _, err = net.connect("example", port, {
      addresses = { "::1", "127.0.0.1", "127.0.0.2", "127.0.0.3" },
    })
    for address in err.message:gmatch "%[?([%x.:]+)%]?:%d+ connection refused" do
      order[#order + 1] = address
    end
    assert.same({ "::1", "127.0.0.1", "127.0.0.2", "127.0.0.3" }, order)
    _, err = net.connect("example", port, { addresses = { "127.0.0.1", "127.0.0.2", "::1" } })
    assert.equal(("connect to example:%d: 127.0.0.1:%d connection refused; [::1]:%d connection "
      .. "refused; 127.0.0.2:%d connection refused"):format(port, port, port, port), err.message)
    assert.equal("ECONNREFUSED", err.code)
    assert.equal(3, #err.errors)
  end)

  it("tries only the family that is wanted", function()
    local port = unused()
    local list = { "127.0.0.1", "::1" }
    local _, err = net.connect("example", port, { addresses = list, family = "inet6" })
    assert.equal(("connect to [::1]:%d: connection refused"):format(port), err.message)
    _, err = net.connect("example", port, { addresses = { "127.0.0.1" }, family = "inet6" })
    assert.equal("EAFNOSUPPORT", err.code)
    assert.equal("connect to example: no address of the family that is wanted", err.message)
    _, err = net.connect("example", port, { addresses = list, local_addr = "127.0.0.1" })
    assert.equal(("connect to 127.0.0.1:%d: connection refused"):format(port), err.message)
  end)

  it("has one time-out for all of them, and leaves no attempt", function()
    local port = dead("127.0.0.1", unused())
    for i = 2, 3 do dead("127.0.0." .. i, port) end
    local before = helper.descriptors()
    local tasks = #neap.all_tasks()
    local err = catch(net.connect, "example", port, {
      addresses = loopback(3).addresses,
      happy_eyeballs_delay = 0.005,
      timeout = 0.05,
    })
    assert.is_true(neap.TimeoutError:is(err))
    helper.await_descriptors(before)
    assert.equal(tasks, #neap.all_tasks())
    local task = start(net.connect, "example", port, loopback(3, 0))
    neap.sleep(0.01)
    task:cancel()
    neap.wait { task }
    assert.is_true(task:cancelled())
    helper.await_descriptors(before)
    assert.equal(tasks, #neap.all_tasks())
  end)

  it("survives a cancel sweep, on one address and on several", function()
    local listener, port = listen("127.0.0.2", unused())
    local one = test.cancel_sweep(function()
      local _stream <close> = net.connect("127.0.0.2", port)
    end)
    assert.is_true(one >= 1)
    local several = test.cancel_sweep(function(sweep)
      local stream <close> = net.connect("example", port, loopback(2))
      sweep:track(stream, stream.is_closed)
    end)
    assert.is_true(several >= 2)
    listener:close()
  end)

  it("survives a cancel sweep with a time-out around it", function()
    local listener, port = listen("127.0.0.2", unused())
    test.cancel_sweep(function(sweep)
      local stream <close> = net.connect("example", port,
        { timeout = 60, addresses = { "127.0.0.1", "127.0.0.2" } })
      sweep:track(stream, stream.is_closed)
    end)
    listener:close()
  end)
end)
