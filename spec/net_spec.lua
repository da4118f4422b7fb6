--- Listening and accepting. Connecting: connect_spec; servers: serve_spec.

local neap = require "neap"
local net = require "neap.net"
local test = require "neap.test"
local helper = require "spec.helper"
local unused = require("spec.support.port").unused

local catch, start, in_task = helper.catch, helper.start, helper.in_task

local keep = require "spec.support.kept"(before_each, after_each).keep

local function listen(opts) return keep(net.listen(opts)) end

--- Connects to a listener.
local function connect(listener, opts)
  local host, port = listener:address()
  return keep(net.connect(host, port or opts, port and opts))
end

--- A folder that is removed when the block is left.
local function temporary()
  local pipe <close> = assert(io.popen "mktemp -d")
  local dir = pipe:read "l"
  return setmetatable({ path = dir }, { __close = function() os.execute("rm -rf " .. dir) end })
end

describe("neap.net.listen", function()
  it("listens on a free port of loopback", function()
    local listener = listen()
    local host, port = listener:address()
    assert.equal("127.0.0.1", host)
    assert.is_true(port > 0)
    assert.equal(2, select("#", listener:address()))
    assert.equal(("<Listener 127.0.0.1:%d>"):format(port), tostring(listener))
    assert.is_true(math.type(listener:fileno()) == "integer")
    assert.is_false(listener:is_closed())
  end)

  it("accepts streams that talk both ways and know both ends", function()
    for _, run in ipairs { helper.direct, in_task } do
      local listener = listen()
      run(function()
        local a = connect(listener)
        local b = keep(listener:accept())
        a:write "ping\n"
        assert.equal("ping", b:read())
        b:write "pong\n"
        assert.equal("pong", a:read())
        assert.same({ a:address() }, { b:peer() })
        assert.same({ b:address() }, { a:peer() })
        assert.same({ listener:address() }, { a:peer() })
      end)
    end
  end)

  it("takes IPv6, and names the address in brackets", function()
    local listener = listen { host = "::1" }
    local host, port = listener:address()
    assert.equal("::1", host)
    assert.equal(("<Listener [::1]:%d>"):format(port), tostring(listener))
    local _a, b = connect(listener), keep(listener:accept())
    assert.equal("::1", (b:peer()))
  end)

  it("takes both families with '*', one with ipv6only or family", function()
    local both = listen { host = "*" }
    local _, port = both:address()
    keep(net.connect("127.0.0.1", port))
    keep(net.connect("::1", port))
    assert.equal("::ffff:127.0.0.1", (keep(both:accept()):peer()))
    port = unused()
    listen { host = "::", ipv6only = true, port = port }
    local stream, err = net.connect("127.0.0.1", port)
    assert.is_nil(stream)
    assert.equal("ECONNREFUSED", err.code)
    keep(net.connect("::1", port))
    assert.equal("0.0.0.0", (listen { host = "*", family = "inet" }:address()))
    assert.equal("::", (listen { host = "*", family = "inet6" }:address()))
  end)

  it("says why it cannot, and where", function()
    local listener = listen()
    local _, port = listener:address()
    local none, err = net.listen { port = port }
    assert.is_nil(none)
    assert.is_true(neap.OSError:is(err))
    assert.same({ "EADDRINUSE", "listen" }, { err.code, err.op })
    assert.equal(("listen on 127.0.0.1:%d: address already in use"):format(port), err.message)
    none, err = net.listen { host = "192.0.2.1" }
    assert.is_nil(none)
    assert.equal("EADDRNOTAVAIL", err.code)
  end)

  it("shares a port among those who say reuse_port", function()
    local one = listen { reuse_port = true }
    local _, port = one:address()
    local two = listen { reuse_port = true, port = port }
    local none, err = net.listen { port = port }
    assert.is_nil(none)
    assert.equal("EADDRINUSE", err.code)
    local got = { 0, 0 }
    local tasks = {}
    for i, listener in ipairs { one, two } do
      tasks[i] = start(function()
        while true do
          local stream = listener:accept()
          if not stream then return end
          got[i] = got[i] + 1
          stream:close()
        end
      end)
    end
    for _ = 1, 40 do
      local stream <close> = connect(one)
      assert.is_nil(stream:read())
    end
    assert.equal(40, got[1] + got[2])
    assert.is_true(got[1] > 0 and got[2] > 0)
    one:close()
    two:close()
    neap.gather(tasks)
  end)

  it("takes a port again at once whose connections linger", function()
    local port = unused()
    local listener = listen { port = port }
    connect(listener)
    listener:accept():close() -- this end closes first, and would be in TIME_WAIT
    listener:close()
    listen { port = port }
  end)

  it("refuses wrong arguments by name", function()
    local function fails(...) return catch(net.listen, ...) end
    assert.matches("#1 to 'neap.net.listen' %(table expected, got number%)", fails(80))
    assert.matches('%(table or "unix:/path" expected, got "tcp:1"%)', fails "tcp:1")
    assert.matches("unknown option 'prot' to 'neap.net.listen'", fails { prot = 1 })
    assert.matches("unknown option 1 to", fails { 80 })
    assert.matches("'port' to 'neap.net.listen' %(integer from 0 to 65535 expected, got 65536%)",
      fails { port = 65536 })
    assert.matches("'port' .*got \"80\"", fails { port = "80" })
    assert.matches("'port' .*got 1.5", fails { port = 1.5 })
    assert.matches("'backlog' .*got %-1", fails { backlog = -1 })
    assert.matches("'keepalive' .*got NaN", fails { keepalive = 0 / 0 })
    assert.matches("'family' .*\"inet\" or \"inet6\" expected, got \"unix\"",
      fails { family = "unix" })
    assert.matches("'mode' .*it is for Unix sockets", fails { mode = 384 })
    assert.matches("'port' .*it is for TCP", fails { path = "/tmp/x", port = 1 })
    local here = "^[^:]*net_spec.lua:%d+:"
    assert.matches(here, catch(function() local _ = net.listen { port = "80" } end))
    assert.matches(here, catch(function() local _ = net.listen { mode = 1 } end))
    assert.matches("Listener expected, got", catch(listen().accept, io.stdout))
  end)
end)

describe("neap.net.listen on a Unix socket", function()
  it("makes the file, and removes it at the close", function()
    local dir <close> = temporary()
    local path = dir.path .. "/socket"
    local listener = listen { path = path, mode = 384 }
    assert.equal("<Listener unix:" .. path .. ">", tostring(listener))
    assert.same({ "unix:" .. path }, { listener:address() })
    local pipe <close> = assert(io.popen("stat -c %a " .. path))
    assert.equal("600", pipe:read())
    local a, b = connect(listener), keep(listener:accept())
    a:write "x\n"
    assert.equal("x", b:read())
    assert.same({ "unix:" .. path }, { a:peer() })
    assert.same({ "unix:" }, { b:peer() })
    listener:close()
    assert.is_nil((io.open(path)))
    b:write "y\n"
    assert.equal("y", a:read())
  end)

  it("takes the place of a file that nobody listens on, but of nothing else", function()
    local dir <close> = temporary()
    local path = dir.path .. "/socket"
    helper.run(([[
      assert(require "neap.net".listen("unix:%s"))
      os.execute "kill -9 $PPID"
    ]]):format(path))
    assert.is_true(os.execute("test -S " .. path))
    local listener = listen("unix:" .. path)
    local none, err = net.listen("unix:" .. path)
    assert.is_nil(none)
    assert.equal("EADDRINUSE", err.code)
    assert.equal("listen on unix:" .. path .. ": address already in use", err.message)
    keep(net.connect("unix:" .. path))
    listener:close()
    assert(io.open(path, "w")):close()
    none, err = net.listen("unix:" .. path)
    assert.is_nil(none)
    assert.equal("EADDRINUSE", err.code)
  end)

  it("leaves a file alone that has taken the place of its own", function()
    local dir <close> = temporary()
    local path = dir.path .. "/socket"
    local listener = listen("unix:" .. path)
    os.remove(path)
    local other = listen("unix:" .. path)
    listener:close()
    keep(net.connect("unix:" .. path))
    other:close()
  end)

  it("takes abstract names, and refuses paths that are too long", function()
    local name = "unix:\0neap-" .. tostring(listen()):match "%d+>" -- a number of ours
    local listener = listen(name)
    assert.equal("<Listener " .. name:gsub("\0", "@") .. ">", tostring(listener))
    local a, b = keep(net.connect(name)), keep(listener:accept())
    a:write "x\n"
    assert.equal("x", b:read())
    local long = "unix:/tmp/" .. ("x"):rep(200)
    local none, err = net.listen(long)
    assert.is_nil(none)
    assert.equal("ENAMETOOLONG", err.code)
    none, err = net.connect(long)
    assert.is_nil(none)
    assert.equal("ENAMETOOLONG", err.code)
  end)
end)

describe("Listener:accept", function()
  it("gives connections to those who wait in the order of arrival", function()
    local listener = listen()
    local log, add = helper.log()
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = start(function()
        local stream <close> = listener:accept()
        add(i .. stream:read())
      end)
    end
    for i = 1, 3 do
      connect(listener):write(i .. "\n")
      tasks[i]:await()
    end
    assert.same({ "11", "22", "33" }, log)
  end)

  it("has what came before anybody waited", function()
    local listener = listen()
    local clients = {}
    for i = 1, 100 do clients[i] = connect(listener) end
    for i = 1, 100 do
      local stream <close> = keep(listener:accept())
      assert.same({ clients[i]:address() }, { stream:peer() })
    end
  end)

  it("ends with an error when the listener is closed", function()
    local listener = listen()
    local tasks = {}
    for i = 1, 2 do tasks[i] = start(listener.accept, listener) end
    listener:close()
    listener:close()
    for i = 1, 2 do
      local stream, err = tasks[i]:await()
      assert.is_nil(stream)
      assert.equal("EBADF", err.code)
      assert.equal("accept: the listener is closed", err.message)
    end
    assert.is_true(listener:is_closed())
    assert.equal("<Listener closed>", tostring(listener))
    assert.equal("EBADF", select(2, listener:accept()).code)
    assert.equal("EBADF", select(2, listener:address()).code)
    assert.equal("EBADF", select(2, listener:fileno()).code)
  end)

  it("refuses what is queued when it is closed, also what was given already", function()
    local listener = listen()
    local task = start(listener.accept, listener)
    local client = connect(listener)
    local second = connect(listener)
    listener:close()
    local stream, err = task:await()
    if stream then
      stream:close()
    else
      assert.equal("EBADF", err.code)
    end
    for _, one in ipairs { client, second } do
      local line, why = one:read()
      assert.is_nil(line)
      assert.is_true(why == nil or why.code == "ECONNRESET")
    end
  end)

  it("does not mind a finalizer that closes the listener meanwhile", function()
    local result = helper.run [[
      local net = require "neap.net"
      collectgarbage("incremental", 100, 1000, 30) -- a step is a collection
      local listener = assert(net.listen())
      local clients = {}
      for i = 1, 2 do clients[i] = assert(net.connect(listener:address())) end
      listener:accept() -- the other one is ahead
      local garbage = setmetatable({}, { __gc = function() listener:close() end })
      collectgarbage "stop"
      collectgarbage()
      garbage = nil
      collectgarbage "restart"
      local _, err = listener:accept()
      print(err and err.code)
    ]]
    assert.same({ "EBADF\n", "", 0 }, { result.out, result.err, result.code })
  end)

  it("can be collected by hand, with anything", function()
    local listener <close> = assert(net.listen())
    local one, other = net.pair()
    keep(one)
    keep(other)
    local reader, accepter = start(one.read, one), start(listener.accept, listener)
    for _, object in ipairs { one, listener } do
      for _, value in ipairs { one, listener, io.stdout, 5, {} } do object.__gc(value) end
      object.__gc()
    end
    other:write "x\n"
    assert.equal("x", reader:await()) -- who is waited on is no garbage
    local client <close> = assert(net.connect(listener:address()))
    accepter:await():close()
    assert.is_false(client:is_closed())
    one.__gc(one)
    assert.matches("closed stream", catch(one.read, one))
  end)

  it("can be cancelled and timed out, and then the next one gets it", function()
    local listener = listen()
    local first = start(listener.accept, listener)
    local second = start(listener.accept, listener)
    first:cancel()
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, listener.accept, 0.001, listener)))
    local _client = connect(listener)
    assert.equal("<Stream tcp", tostring(keep(second:await())):match "^<%w+ %w+")
    assert.is_true(first:cancelled())
  end)

  it("gives a connection on when its task is cancelled after the wake", function()
    local listener = listen()
    local tasks = {}
    for i = 1, 2 do
      tasks[i] = start(listener.accept, listener)
      -- Whoever is woken first ends the other, which has been woken as well.
      tasks[i]:add_done_callback(function() tasks[3 - i]:cancel() end)
    end
    local clients = { connect(listener), connect(listener) }
    neap.wait(tasks)
    local got = 0
    for _, task in ipairs(tasks) do
      if not task:cancelled() then
        keep(task:await())
        got = got + 1
      end
    end
    while got < #clients do -- nobody else has them
      keep(listener:accept())
      got = got + 1
    end
  end)

  it("keeps the program alive while somebody waits, and only then", function()
    local result = helper.run [[
      local neap, net = require "neap", require "neap.net"
      local idle = assert(net.listen())
      local listener = assert(net.listen())
      local _, port = listener:address()
      neap.create_task(function()
        local stream <close> = listener:accept()
        print(stream:read())
      end)
      neap.create_task(function()
        local stream <close> = net.connect("127.0.0.1", port)
        neap.sleep(0.01)
        stream:write("done\n")
      end)
    ]]
    assert.same({ "done\n", "", 0 }, { result.out, result.err, result.code })
  end)

  it("is told in the report of a deadlock by its listener", function()
    local listener = listen()
    local task = start(listener.accept, listener)
    local dump = tostring(neap.get_event_loop():dump())
    assert.matches("Listener:accept'?.* for <Listener 127.0.0.1:%d+>", dump)
    task:cancel()
    neap.wait { task }
  end)

  it("belongs to the loop that it was made on", function()
    local listener = listen()
    assert.matches("loop", catch(neap.run, function() listener:accept() end))
    local other
    neap.run(function()
      other = net.listen()
      neap.create_task(other.accept, other)
      neap.sleep(0)
    end)
    assert.is_true(other:is_closed())
    assert.equal("EBADF", select(2, other:accept()).code)
  end)

  it("refuses to wait in a callback", function()
    local listener = listen()
    local future = neap.Future()
    neap.get_event_loop():call_soon(function()
      future:set_result(catch(listener.accept, listener))
    end)
    assert.matches("cannot wait in 'Listener:accept' inside a loop callback", future:await())
  end)

  it("survives a cancel sweep", function()
    local waits = test.cancel_sweep(function(sweep)
      local listener <close> = sweep:track(net.listen(), function(l) return l:is_closed() end)
      local group <close> = neap.TaskGroup()
      group:create_task(function()
        local stream <close> = listener:accept()
        stream:read()
      end)
      local _, port = listener:address()
      local stream <close> = net.connect("127.0.0.1", port)
      stream:write "x\n"
    end)
    assert.is_true(waits >= 2)
  end)

  it("leaves no descriptors, whatever was under way", function()
    local before = helper.descriptors()
    for _ = 1, 20 do
      local listener <close> = net.listen()
      local task = start(listener.accept, listener)
      local _, port = listener:address()
      for i = 1, 3 do
        local stream = net.connect("127.0.0.1", port)
        if i == 2 then stream:close() end -- the others are collected
      end
      local got = in_task(function() return task:await() end)
      if got then got:close() end
    end
    helper.await_descriptors(before)
  end)

  it("is closed when the listener is collected", function()
    local port = unused()
    local only = { assert(net.listen { port = port }) }
    local before = helper.descriptors()
    assert.is_false(only[1]:is_closed())
    only[1] = nil
    collectgarbage()
    collectgarbage()
    helper.await_descriptors(before - 1)
    local none, err = net.connect("127.0.0.1", port)
    assert.is_nil(none)
    assert.equal("ECONNREFUSED", err.code)
  end)

  it("ends with its loop, whatever is under way", function()
    neap.run(function()
      local listener = net.listen()
      local _, port = listener:address()
      for _ = 1, 3 do neap.create_task(listener.accept, listener) end
      for _ = 1, 5 do neap.create_task(net.connect, "127.0.0.1", port) end
      neap.create_task(net.connect, "127.0.0.1", port)
      neap.sleep(0)
    end)
  end)
end)

describe("keepalive and nodelay", function()
  it("are taken", function()
    local listener = listen { keepalive = 30, nodelay = false }
    local a = connect(listener, { keepalive = true, nodelay = false })
    local b = keep(listener:accept())
    a:write "x\n"
    assert.equal("x", b:read())
  end)
end)

