--- Datagrams: net.udp.

local neap = require "neap"
local net = require "neap.net"
local core = require "neap.core.test"
local helper = require "spec.helper"
local unused = require("spec.support.port").unused
local test = require "neap.test"

local open

before_each(function() open = {} end)
after_each(function()
  for _, socket in ipairs(open) do socket:close() end
end)

--- A socket that the test closes, and its port.
local function make(opts)
  opts = opts or {}
  if not opts.host and not opts.connect then opts.host = "127.0.0.1" end
  local socket = assert(net.udp(opts))
  open[#open + 1] = socket
  return socket, select(2, socket:address())
end

local function to(port) return { host = "127.0.0.1", port = port } end

--- A socket with a peer that is not there.
local function alone()
  local port = unused()
  return make { connect = to(port) }, port
end

describe("a datagram", function()
  it("arrives with the address it came from", function()
    local a, pa = make()
    local b, pb = make()
    assert.is_true(a:send("hello", "127.0.0.1", pb))
    assert.same({ "hello", "127.0.0.1", pa }, { b:recv() })
  end)

  it("is waited for", function()
    local a = make()
    local b, pb = make()
    local task = helper.start(b.recv, b)
    assert.is_false(task:done())
    a:send("x", "127.0.0.1", pb)
    assert.equal("x", (task:await()))
  end)

  it("may be empty, or as long as IP allows, and is kept whole", function()
    local a = make()
    local b, pb = make { limit = 1 << 20 }
    local big = ("0123456789"):rep(6551):sub(1, 65507)
    for _, data in ipairs { "", big, "a\0b" } do
      assert.is_true(a:send(data, "127.0.0.1", pb))
      assert.equal(data, (b:recv()))
    end
    local ok, err = a:send(big .. "x", "127.0.0.1", pb)
    assert.is_nil(ok)
    assert.equal("EMSGSIZE", err.code)
  end)

  it("goes over IPv6, and to IPv4 from a socket of both", function()
    local both, port = make { host = "::" }
    local six = make { host = "::1" }
    local four, p4 = make()
    assert.is_true(six:send("six", "::1", port))
    assert.same({ "six", "::1" }, { table.unpack({ both:recv() }, 1, 2) })
    assert.is_true(four:send("four", "127.0.0.1", port))
    assert.same({ "four", "127.0.0.1", p4 }, { both:recv() })
    assert.is_true(both:send("back", "127.0.0.1", p4))
    assert.equal("back", (four:recv()))
  end)

  it("is sent to a name as well", function()
    local a = make()
    local b, pb = make()
    assert.is_true(a:send("x", "localhost", pb))
    assert.equal("x", (b:recv()))
    local ok, err = a:send("x", "", pb)
    assert.is_nil(ok)
    assert.equal("EAI_NONAME", err.code)
  end)

  it("goes to one task each, in the order in which they wait", function()
    local a = make()
    local b, pb = make()
    local log, add = helper.log()
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = helper.start(function() add(i .. (b:recv())) end)
    end
    for i = 1, 3 do a:send(("abc"):sub(i, i), "127.0.0.1", pb) end
    for i = 1, 3 do tasks[i]:await() end
    table.sort(log)
    assert.same({ "1a", "2b", "3c" }, log)
  end)

  it("is not lost with a receiver that is cancelled after it was woken", function()
    local a = make()
    local b, pb = make()
    local first = helper.start(b.recv, b)
    local second = helper.start(b.recv, b)
    local loop = neap.get_event_loop()
    local r, w = core.pipe()
    loop:add_reader(r, function() -- comes in the same look at the system
      loop:remove_reader(r)
      first:cancel()
    end)
    neap.sleep(0.001) -- until the system watches both
    core.fd_write(w, "x")
    a:send("x", "127.0.0.1", pb)
    assert.is_true(helper.is_cancelled(helper.catch(first.await, first)))
    assert.equal("x", (second:await()))
    core.fd_close(r)
    core.fd_close(w)
  end)
end)

describe("a socket with a peer", function()
  it("sends without an address, and takes nothing from others", function()
    local server, port = make()
    local stranger = make()
    local client = make { connect = to(port) }
    local host, own = client:address()
    assert.equal("127.0.0.1", host)
    assert.same({ "127.0.0.1", port, "inet" }, { client:peer() })
    assert.is_true(stranger:send("stranger", "127.0.0.1", own))
    assert.is_true(client:send "ping")
    assert.same({ "ping", "127.0.0.1", own }, { server:recv() })
    server:send("pong", "127.0.0.1", own)
    assert.equal("pong", (client:recv()))
  end)

  it("is told that nobody listens", function()
    local client = alone()
    assert.is_true(client:send "x")
    local data, err = client:recv()
    assert.is_nil(data)
    assert.equal("ECONNREFUSED", err.code)
    assert.equal("recv", err.op)
  end)

  it("goes on after an error", function()
    local client, port = alone()
    client:send "x"
    client:recv()
    local server = make { port = port }
    assert.is_true(client:send "y")
    assert.equal("y", (server:recv()))
  end)

  it("has no peer when it was made without", function()
    local ok, err = make():peer()
    assert.is_nil(ok)
    assert.equal("ENOTCONN", err.code)
  end)
end)

describe("a queue that is full", function()
  it("leaves the rest to the system, which drops it", function()
    local a = make()
    local b, pb = make { limit = 4000, recv_buffer = 4096 }
    local helped = helper.start(b.recv, b)
    a:send("first", "127.0.0.1", pb)
    helped:await()
    for _ = 1, 200 do a:send(("x"):rep(1000), "127.0.0.1", pb) end
    neap.sleep(0.01)
    local dropped = b:dropped()
    assert.is_true(dropped > 100)
    for _ = 1, 200 - dropped do assert(b:recv()) end
    assert.is_true(neap.TimeoutError:is(helper.catch(neap.wait_for, b.recv, 0.01, b)))
    assert.equal(dropped, b:dropped())
  end)
end)

describe("udp:packets", function()
  it("gives what arrives until the socket is closed", function()
    local a, pa = make()
    local b, pb = make()
    local log, add = helper.log()
    local task = helper.start(function()
      for data, host, port in b:packets() do add { data, host, port } end
      return "over"
    end)
    a:send("1", "127.0.0.1", pb)
    a:send("", "127.0.0.1", pb)
    while #log < 2 do neap.sleep(0.001) end
    b:close()
    assert.equal("over", task:await())
    assert.same({ { "1", "127.0.0.1", pa }, { "", "127.0.0.1", pa } }, log)
    assert.matches("closed socket", helper.catch(b.packets, b))
  end)

  it("raises errors", function()
    local client = alone()
    client:send "x"
    local err = helper.catch(function()
      for _ in client:packets() do error "nothing can come" end
    end)
    assert.equal("ECONNREFUSED", err.code)
  end)
end)

describe("waiting for a datagram", function()
  it("goes to one alone when a finalizer receives, too", function()
    -- In a program of its own: how often the collector runs depends on all that there is.
    local result = helper.run([[
      local neap = require "neap"
      local net = require "neap.net"
      local a = assert(net.udp { host = "127.0.0.1" })
      local _, port = a:address()
      local b = assert(net.udp { connect = { host = "127.0.0.1", port = port } })
      local fill, seen, others, refused = ("x"):rep(300), {}, 0, 0
      local function take(data)
        assert(not seen[data], "given twice")
        seen[data] = true
      end
      neap.create_task(function() -- is cancelled with the loop
        for i = 1, math.huge do
          assert(b:send(i .. fill))
          if i % 20 == 0 then neap.sleep(0) end
        end
      end)
      local function finalizer()
        local ok, data = pcall(a.recv, a)
        if ok and data then
          others = others + 1
          take(data)
        end
      end
      while others == 0 or refused == 0 do
        setmetatable({}, { __gc = finalizer })
        local ok, data, host, from = pcall(a.recv, a)
        if ok then
          take(data)
          assert(host == "127.0.0.1" and from == select(2, b:address()))
        else
          assert(data:find "a finalizer has received from the same socket", data)
          refused = refused + 1
        end
      end
      print "done"
      os.exit(0, true)
    ]], { env = "env -u NEAP_GC_STRESS" }) -- where it is to run at any time
    assert.same({ out = "done\n", err = "", code = 0 }, result)
  end)

  it("ends when the socket is closed", function()
    local a = make()
    local tasks = { helper.start(a.recv, a), helper.start(a.recv, a) }
    a:close()
    for _, task in ipairs(tasks) do
      local data, err = task:await()
      assert.is_nil(data)
      assert.equal("EBADF", err.code)
    end
  end)

  it("ends when the socket is closed by <close>", function()
    local task
    do
      local a <close> = assert(net.udp { host = "127.0.0.1" })
      task = helper.start(a.recv, a)
    end
    assert.equal("EBADF", select(2, task:await()).code)
  end)

  it("can be cancelled and timed out", function()
    local a, pa = make()
    local task = helper.start(a.recv, a)
    task:cancel()
    assert.is_true(helper.is_cancelled(helper.catch(task.await, task)))
    assert.is_true(neap.TimeoutError:is(helper.catch(neap.wait_for, a.recv, 0.005, a)))
    a:send("still", "127.0.0.1", pa)
    assert.equal("still", (a:recv()))
  end)

  it("leaves nothing behind wherever it is cancelled", function()
    local before = helper.descriptors()
    test.cancel_sweep(function()
      local a <close> = assert(net.udp { host = "127.0.0.1" })
      local b <close> = assert(net.udp { host = "127.0.0.1" })
      local _, port = b:address()
      for i = 1, 3 do
        a:send("x" .. i, "localhost", port)
        assert(b:recv())
      end
      local other = neap.create_task(b.recv, b)
      local _ <close> = helper.closing(function() other:cancel() end)
      neap.sleep(0)
      a:send("y", "127.0.0.1", port)
      other:await()
    end)
    helper.await_descriptors(before)
  end)

  it("ends with its loop", function()
    local before = helper.descriptors()
    local socket, err
    neap.run(function()
      socket = assert(net.udp { host = "127.0.0.1" })
      neap.create_task(function()
        err = helper.catch(socket.recv, socket)
        error(err, 0)
      end)
      neap.sleep(0)
    end)
    assert.is_true(helper.is_cancelled(err))
    assert.is_true(socket:is_closed())
    assert.matches("closed socket", helper.catch(socket.recv, socket))
    helper.await_descriptors(before)
  end)

  it("is refused on another loop's socket", function()
    local loop = neap.get_event_loop()
    local other = neap.new_event_loop()
    neap.set_event_loop(other)
    local a = assert(net.udp { host = "127.0.0.1" })
    neap.set_event_loop(loop)
    local _, port = a:address()
    assert.matches("another event loop", helper.catch(a.recv, a))
    assert.matches("another event loop", helper.catch(a.send, a, "x", "127.0.0.1", port))
    a:close()
    other:close()
  end)

  it("is told in reports", function()
    local a, port = make()
    local task = helper.start(a.recv, a)
    assert.matches("waiting in 'Udp:recv' for <Udp 127.0.0.1 port " .. port .. ">",
      tostring(neap.get_event_loop():dump()), 1, true)
    task:cancel()
    pcall(task.await, task)
  end)
end)

describe("many sends", function()
  it("let other tasks run", function()
    local a = make()
    local _, pb = make()
    local turns = 0
    local other = neap.create_task(function()
      while true do
        turns = turns + 1
        neap.sleep(0)
      end
    end)
    neap.create_task(function()
      for _ = 1, 1000 do a:send("x", "127.0.0.1", pb) end
    end):await()
    other:cancel()
    assert.is_true(turns >= 10)
  end)
end)

describe("a send for which there is no room", function()
  local queued = require "neap.core.udp".send_queued

  it("waits until it is gone", function()
    local a = make()
    local b, pb = make()
    assert.is_true(queued(a, "one", "127.0.0.1", pb))
    assert.is_true(neap.create_task(queued, a, "two", "127.0.0.1", pb):await())
    assert.equal("one", (b:recv()))
    assert.equal("two", (b:recv()))
    local ok, err = queued(a, ("x"):rep(65508), "127.0.0.1", pb)
    assert.is_nil(ok)
    assert.equal("EMSGSIZE", err.code)
  end)

  it("leaves all the same when its task is cancelled", function()
    local a = make()
    local b, pb = make()
    local task = neap.create_task(queued, a, "x", "127.0.0.1", pb)
    neap.create_task(task.cancel, task)
    local ok, err = pcall(task.await, task)
    assert.is_true(ok or helper.is_cancelled(err))
    a:send("y", "127.0.0.1", pb)
    local data = b:recv()
    if data == "x" then data = b:recv() end -- else it was cancelled before it began
    assert.equal("y", data)
  end)

  it("ends when the socket is closed", function()
    local a = make()
    local _, pb = make()
    local task = neap.create_task(function()
      neap.create_task(a.close, a)
      return queued(a, "x", "127.0.0.1", pb)
    end)
    local ok, err = task:await()
    assert.is_true(ok == true or err.code == "EBADF")
  end)

  it("ends with its loop", function()
    local _, pb = make()
    local before = helper.descriptors()
    neap.run(function()
      local s = assert(net.udp { host = "127.0.0.1" })
      neap.create_task(queued, s, "x", "127.0.0.1", pb)
      neap.create_task(queued, s, ("x"):rep(60000), "127.0.0.1", pb)
      neap.sleep(0)
    end)
    helper.await_descriptors(before)
  end)

  it("leaves nothing behind wherever it is cancelled", function()
    test.cancel_sweep(function()
      local a <close> = assert(net.udp { host = "127.0.0.1" })
      local b <close> = assert(net.udp { host = "127.0.0.1" })
      local _, port = b:address()
      for _ = 1, 3 do queued(a, "x", "127.0.0.1", port) end
      b:recv()
    end)
  end)
end)

describe("a multicast group", function()
  --- Nothing where the kernel has no multicast on the loopback.
  local function join(socket, group, interface)
    local ok, err = socket:join(group, interface)
    if not ok then
      assert.is_true(err.code == "ENODEV" or err.code == "EADDRNOTAVAIL", tostring(err))
      pending("the kernel refuses multicast on the loopback: " .. tostring(err))
    end
  end

  it("is heard by all who joined it", function()
    local a, port = make { host = "0.0.0.0", reuse_addr = true }
    local b = make { host = "0.0.0.0", reuse_addr = true, port = port }
    local sender = make { host = "0.0.0.0" }
    join(a, "239.255.77.1", "127.0.0.1")
    join(b, "239.255.77.1", "127.0.0.1")
    assert.is_true(sender:set_multicast_interface "127.0.0.1")
    assert.is_true(sender:set_multicast_loop(true))
    assert.is_true(sender:set_multicast_ttl(1))
    assert.is_true(sender:send("all", "239.255.77.1", port))
    assert.equal("all", (neap.wait_for(a.recv, 50, a)))
    assert.equal("all", (neap.wait_for(b.recv, 50, b)))
    assert.is_true(a:leave("239.255.77.1", "127.0.0.1"))
    assert.is_true(sender:send("b", "239.255.77.1", port))
    assert.equal("b", (b:recv()))
    assert.is_true(neap.TimeoutError:is(helper.catch(neap.wait_for, a.recv, 0.005, a)))
  end)

  it("may be of one source only", function()
    local a, port = make { host = "0.0.0.0", reuse_addr = true }
    local sender = make { host = "127.0.0.1" }
    local ok, err = a:join("232.1.77.1", "127.0.0.1", "127.0.0.1")
    if not ok then pending("no source membership: " .. tostring(err)) end
    sender:set_multicast_interface "127.0.0.1"
    assert.is_true(sender:send("x", "232.1.77.1", port))
    assert.equal("x", (neap.wait_for(a.recv, 50, a)))
  end)

  it("is refused where it is none", function()
    local ok, err = make():join "127.0.0.1"
    assert.is_nil(ok)
    assert.is_true(neap.OSError:is(err))
    assert.equal("join", err.op)
  end)
end)

describe("net.udp", function()
  it("says what the system refuses", function()
    local _, port = make()
    local socket, err = net.udp { host = "127.0.0.1", port = port }
    assert.is_nil(socket)
    assert.equal("EADDRINUSE", err.code)
    assert.equal("bind", err.op)
    socket, err = net.udp { host = "192.0.2.1" }
    assert.is_nil(socket)
    assert.equal("EADDRNOTAVAIL", err.code)
    socket, err = net.udp { host = "127.0.0.1", connect = { host = "::1", port = 9 } }
    assert.is_nil(socket)
    assert.equal("connect", err.op)
  end)

  it("shares a port where asked to", function()
    local _, port = make { reuse_port = true }
    local other = make { reuse_port = true, port = port }
    assert.equal(port, select(2, other:address()))
  end)

  it("takes the options of sockets", function()
    local a = make { broadcast = true, ttl = 4, send_buffer = 8192, recv_buffer = 8192 }
    assert.is_true(a:set_broadcast(false))
    assert.is_true(a:set_ttl(64))
    local port = unused()
    make { host = "::", ipv6only = true, port = port }
    make { host = "0.0.0.0", port = port } -- not taken by the other
    assert.equal("inet6", select(3, make { family = "inet6", host = "::1" }:address()))
  end)

  it("takes any address and port by default", function()
    local a <close> = assert(net.udp())
    local host, port, family = a:address()
    assert.equal("0.0.0.0", host)
    assert.is_true(port > 0)
    assert.equal("inet", family)
  end)

  it("says which option is wrong", function()
    assert.matches("bad option 'port' to 'neap.net.udp' %(integer from 0 to 65535 expected, "
      .. "got 70000%)", helper.catch(net.udp, { port = 70000 }))
    assert.matches("bad option 'ttl' .* %(integer from 1 to 255 expected, got 0%)",
      helper.catch(net.udp, { ttl = 0 }))
    assert.matches("bad option 'broadcast'", helper.catch(net.udp, { broadcast = 1 }))
    assert.matches("bad option 'connect'", helper.catch(net.udp, { connect = "host" }))
    assert.matches("host and port", helper.catch(net.udp, { connect = { host = "x" } }))
    assert.matches("unknown option 'prot'", helper.catch(net.udp, { prot = 1 }))
    assert.matches("table expected", helper.catch(net.udp, "127.0.0.1"))
  end)

  it("says which argument of a method is wrong", function()
    local a, port = make()
    assert.matches("bad argument #1 to 'Udp:send' %(string expected, got table%)",
      helper.catch(a.send, a, {}))
    assert.matches("bad argument #2 to 'Udp:send' %(string expected, got nil%)",
      helper.catch(a.send, a, "x"))
    assert.matches("bad argument #3 to 'Udp:send' %(integer from 0 to 65535 expected",
      helper.catch(a.send, a, "x", "127.0.0.1", "http"))
    local c = make { connect = to(port) }
    assert.matches("connected", helper.catch(c.send, c, "x", "127.0.0.1", port))
    assert.matches("integer from 1 to 255", helper.catch(a.set_ttl, a, 300))
    assert.matches("argument #1 to 'Udp:set_broadcast' %(boolean expected, got 1%)",
      helper.catch(a.set_broadcast, a, 1))
    assert.matches("argument #1 to 'Udp:join' %(string expected, got no value%)",
      helper.catch(a.join, a))
    assert.matches("argument #3 to 'Udp:leave' %(string expected, got table%)",
      helper.catch(a.leave, a, "239.1.2.3", nil, {}))
    assert.matches("argument #1 to 'Udp:set_multicast_interface' %(string expected, got 1%)",
      helper.catch(a.set_multicast_interface, a, 1))
    assert.matches("Udp expected", helper.catch(a.recv, {}))
  end)

  it("closes as often as one likes, and is of no use after", function()
    local a = make()
    assert.matches("^<Udp 127.0.0.1 port %d+>$", tostring(a))
    a:close()
    a:close()
    assert.is_true(a:is_closed())
    assert.equal("<Udp closed>", tostring(a))
    assert.matches("attempt to use a closed socket %(in 'Udp:recv'%)", helper.catch(a.recv, a))
    assert.matches("closed socket", helper.catch(a.send, a, "x", "127.0.0.1", 1))
    assert.matches("closed socket", helper.catch(a.address, a))
  end)

  it("is closed when it is collected", function()
    local before = helper.descriptors()
    for _ = 1, 10 do assert(net.udp { host = "127.0.0.1" }) end
    collectgarbage()
    collectgarbage()
    helper.await_descriptors(before)
  end)

  it("does not keep the program running, unless somebody waits", function()
    local result = helper.run [[
      local neap, net = require "neap", require "neap.net"
      local a, b = net.udp { host = "127.0.0.1" }, net.udp { host = "127.0.0.1" }
      local _, port = b:address()
      neap.create_task(function()
        neap.sleep(0.01)
        a:send("late", "127.0.0.1", port)
      end)
      neap.create_task(function() print(b:recv()) end)
      print "end of the chunk"
    ]]
    assert.matches("^end of the chunk\nlate\t127.0.0.1\t%d+\n$", result.out)
    assert.same({ "", 0 }, { result.err, result.code })
  end)
end)
