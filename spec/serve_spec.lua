--- Servers: neap.net.serve.

local neap = require "neap"
local net = require "neap.net"
local test = require "neap.test"
local helper = require "spec.helper"
local unused = require("spec.support.port").unused

local catch, start, in_task = helper.catch, helper.start, helper.in_task

local keep = require "spec.support.kept"(before_each, after_each).keep

local function serve(handler, opts) return keep(net.serve(handler, opts)) end

local function connect(server) return keep(net.connect(server:address())) end

--- Says each line again.
local function echo(stream)
  for line in stream:lines "L" do stream:write(line) end
end

--- A handler that stays until the peer leaves.
local function stay(stream) stream:read "a" end

local function output(command)
  local pipe <close> = assert(io.popen(command))
  return pipe:read "a"
end

describe("neap.net.serve", function()
  it("gives each connection to the handler, in a task of its own", function()
    for _, run in ipairs { helper.direct, in_task } do
      local seen = {}
      local server
      server = serve(function(stream, it)
        seen[neap.current_task()] = true
        assert.equal(server, it)
        echo(stream)
      end)
      run(function()
        local clients = {}
        for i = 1, 10 do clients[i] = connect(server) end
        for i, client in ipairs(clients) do client:write(i .. "\n") end
        for i, client in ipairs(clients) do assert.equal(tostring(i), client:read()) end
        assert.equal(10, server:connections())
        local _, port = server:address()
        assert.equal(("<Server 127.0.0.1:%d, connections=10>"):format(port), tostring(server))
        for _, client in ipairs(clients) do client:shutdown() end
        for _, client in ipairs(clients) do assert.is_nil((client:read())) end
      end)
      server:close()
      server:wait_closed()
      local count = 0
      for task in pairs(seen) do
        count = count + 1
        assert.is_true(task:done())
      end
      assert.equal(10, count)
      assert.equal("<Server closed, connections=0>", tostring(server))
    end
  end)

  it("closes the stream when the handler returns", function()
    local server = serve(function(stream) stream:write "bye\n" end)
    local client = connect(server)
    assert.equal("bye\n", client:read "a")
  end)

  it("reports a handler that fails, and goes on", function()
    local server = serve(function(stream)
      local line = stream:read()
      if line == "fail" then error "oops" end
      stream:write "fine\n"
    end)
    for _ = 1, 2 do
      local client = connect(server)
      client:write "fail\n"
      assert.is_nil((client:read()))
      client = connect(server)
      client:write "x\n"
      assert.equal("fine", client:read())
    end
    helper.settle()
    local reports = helper.reports.take()
    assert.equal(2, #reports)
    assert.equal("Unhandled error in a connection handler of neap.net.serve", reports[1].message)
    assert.matches("serve_spec.lua:%d+: oops$", reports[1].exception)
    assert.matches("serve_spec.lua:%d+: in ", reports[1].traceback)
    assert.is_true(reports[1].task:done())
  end)

  it("does not report that a peer went away, but in debug mode", function()
    local loop = neap.get_event_loop()
    local error_of = {}
    local server = serve(function(stream)
      local _, err = stream:read()
      error_of[#error_of + 1] = err
      error(err, 0)
    end)
    for i = 1, 2 do
      loop:set_debug(i == 2)
      local client = connect(server)
      client:write "no line"
      client:flush()
      while server:connections() == 0 do neap.sleep(0) end
      client:reset()
      while not error_of[i] or server:connections() > 0 do neap.sleep(0) end
      loop:set_debug(false)
      assert.equal("ECONNRESET", error_of[i].code)
      assert.equal(i - 1, #helper.reports.take())
    end
  end)

  it("accepts no more than the limit at a time", function()
    local gate, most, now = neap.Event(), 0, 0
    local server = serve(function(stream)
      now = now + 1
      most = math.max(most, now)
      gate:wait()
      stream:write "x\n"
      now = now - 1
    end, { limit = 2 })
    local clients = {}
    for i = 1, 5 do clients[i] = connect(server) end
    while now < 2 do neap.sleep(0) end
    neap.sleep(0.005)
    assert.equal(2, server:connections())
    gate:set()
    for _, client in ipairs(clients) do assert.equal("x", client:read()) end
    assert.equal(2, most)
  end)

  it("stops listening at once when it is closed, and lets handlers end", function()
    local server = serve(echo, { port = unused() })
    local client = connect(server)
    client:write "a\n"
    assert.equal("a", client:read())
    local waiter = start(server.wait_closed, server)
    server:close()
    server:close()
    assert.is_true(server:is_closed())
    local none, err = net.connect(server:address())
    assert.is_nil(none)
    assert.equal("ECONNREFUSED", err.code)
    client:write "b\n"
    assert.equal("b", client:read())
    assert.is_false(waiter:done())
    client:close()
    waiter:await()
    server:wait_closed()
    assert.equal(0, server:connections())
  end)

  it("can be closed by a handler, which cannot wait for the end", function()
    local refused
    local server = serve(function(_, server)
      server:close()
      refused = catch(server.wait_closed, server)
      assert.equal(0, server:shutdown(0))
    end)
    assert.is_nil((connect(server):read()))
    server:wait_closed()
    assert.matches("a handler of the server cannot wait for its end", refused)
  end)

  it("can be closed while it waits for room", function()
    local server = serve(stay, { limit = 1 })
    local client = connect(server)
    connect(server)
    while server:connections() == 0 do neap.sleep(0) end
    server:close()
    client:close()
    server:wait_closed()
  end)

  it("gives handlers time at a shutdown, then cancels them", function()
    local cancelled = 0
    local server = serve(function(stream)
      local ok, err = pcall(stream.read, stream, "a")
      if not ok then
        cancelled = cancelled + 1
        error(err, 0)
      end
    end)
    local one, two = connect(server), connect(server)
    while server:connections() < 2 do neap.sleep(0) end
    do
      local clock <close> = test.clock { autojump = false }
      local task = start(server.shutdown, server, 10)
      clock:advance(9)
      one:close()
      while server:connections() == 2 do neap.sleep(0) end
      assert.is_false(task:done())
      clock:advance(1)
      assert.equal(1, task:await())
    end
    assert.equal(1, cancelled)
    assert.is_nil((two:read()))
    assert.equal(0, server:shutdown())
    assert.matches("seconds expected, got %-1", catch(server.shutdown, server, -1))
  end)

  it("waits without a limit at a shutdown that has none", function()
    local server = serve(stay)
    local client = connect(server)
    while server:connections() == 0 do neap.sleep(0) end
    local task = start(server.shutdown, server)
    assert.is_false(task:done())
    client:close()
    assert.equal(0, task:await())
  end)

  it("is closed with its block, and its handlers ended", function()
    local finished = 0
    do
      local server <close> = net.serve(function(stream)
        local _count <close> = helper.closing(function() finished = finished + 1 end)
        stream:read "a"
      end, { grace = 0.005 })
      connect(server)
      while server:connections() == 0 do neap.sleep(0) end
    end
    assert.equal(1, finished)
  end)

  it("gives its handlers the grace when the task that has it is cancelled", function()
    local begun, go, port = neap.Event(), neap.Event(), neap.Future()
    local task = start(function()
      local server <close> = net.serve(function(stream)
        begun:set()
        go:wait()
        stream:write "still\n"
      end, { grace = 60 })
      port:set_result(server:address())
      server:wait_closed()
    end)
    local stream <close> = net.connect(port:await())
    begun:wait()
    task:cancel()
    helper.settle()
    go:set()
    assert.equal("still", stream:read())
    assert.is_true(helper.is_cancelled(catch(task.await, task)))
  end)

  it("keeps the program running until it is closed", function()
    local result = helper.run [[
      local neap, net = require "neap", require "neap.net"
      local server = assert(net.serve(function(stream, server)
        print(stream:read())
        server:close()
      end))
      neap.create_task(function()
        local stream <close> = net.connect(server:address())
        stream:write "last\n"
      end)
      print "end of the chunk"
    ]]
    assert.same({ "end of the chunk\nlast\n", "", 0 }, { result.out, result.err, result.code })
  end)

  it("ends with neap.run", function()
    local server
    neap.run(function()
      server = net.serve(stay)
      local client = net.connect(server:address())
      client:write "x"
      while server:connections() == 0 do neap.sleep(0) end
    end)
    assert.is_true(server.listeners[1]:is_closed())
    assert.is_true(server:is_closed())
    assert.equal("<Server closed, connections=0>", tostring(server))
    server:close()
    server:wait_closed()
    assert.equal(0, server:shutdown())
  end)

  it("refuses a listener that is none, is closed, or of another loop", function()
    local one, other = net.pair()
    keep(one)
    keep(other)
    for _, value in ipairs { io.stdout, one } do
      assert.matches("^[^:]*serve_spec.lua:%d+: bad option 'listener' to 'neap.net.serve' "
        .. "%(Listener expected, got userdata%)", catch(function()
        local _ = net.serve(echo, { listener = value })
      end))
    end
    local listener = assert(net.listen())
    assert.matches("belongs to another event loop",
      catch(neap.run, net.serve, echo, { listener = listener }))
    listener:close()
    local none, err = net.serve(echo, { listener = listener })
    assert.is_nil(none)
    assert.equal("EBADF", err.code)
  end)

  it("takes a listener, a path, and what can be called", function()
    local listener = assert(net.listen())
    local server = serve(setmetatable({}, { __call = function(_, stream) echo(stream) end }),
      { listener = listener })
    local client = connect(server)
    client:write "x\n"
    assert.equal("x", client:read())
    local path = os.tmpname()
    os.remove(path)
    server = serve(echo, "unix:" .. path)
    assert.equal("unix:" .. path, (server:address()))
    client = connect(server)
    client:write "x\n"
    assert.equal("x", client:read())
  end)

  it("does not take for a handler's error what ends the program #host", function()
    for name, expected in pairs { SIGTERM = { 143, "" }, SIGINT = { 130, "KeyboardInterrupt" } } do
      local result = helper.run(([[
        local neap = require "neap"
        local net = require "neap.net"
        local server = net.serve(function(stream)
          stream:read()
          require "neap.signal".raise "%s"
          while true do end
        end)
        local client = assert(net.connect(server:address()))
        client:write "x\n"
        neap.sleep(3600)
      ]]):format(name))
      assert.equal(expected[1], result.code)
      assert.matches(expected[2], result.err)
      assert.not_matches("Unhandled error", result.err)
    end
  end)

  it("refuses wrong arguments by name, and says why it cannot listen", function()
    local function fails(...) return catch(net.serve, ...) end
    assert.matches("#1 to 'neap.net.serve' %(function expected, got nil%)", fails())
    assert.matches("#1 to 'neap.net.serve' %(function expected, got table%)", fails {})
    assert.matches("#2 .*table or \"unix:/path\" expected, got \"x\"", fails(echo, "x"))
    assert.matches("#2 .*table expected, got number", fails(echo, 80))
    assert.matches("unknown option 'limti' to 'neap.net.serve'", fails(echo, { limti = 1 }))
    assert.matches("'limit' .*positive integer expected, got 0", fails(echo, { limit = 0 }))
    assert.matches("'port' .*got \"80\"", fails(echo, { port = "80" }))
    assert.matches("'mode' to 'neap.net.serve' %(it is for Unix", fails(echo, { mode = 1 }))
    assert.matches("'tls' .*cert and key", fails(echo, { tls = true }))
    local here = "^[^:]*serve_spec.lua:%d+:"
    assert.matches(here, catch(function() local _ = net.serve(echo, { limti = 1 }) end))
    assert.matches(here, catch(function() local _ = net.serve(echo, { mode = 1 }) end))
    assert.matches(here, catch(function() local _ = net.serve() end))
    local server = serve(echo)
    local _, port = server:address()
    local none, err = net.serve(echo, { port = port })
    assert.is_nil(none)
    assert.equal("EADDRINUSE", err.code)
    for _, name in ipairs { "close", "is_closed", "wait_closed", "shutdown", "address" } do
      assert.matches("bad argument #1 to '" .. name .. "' %(neap.net.Server expected, got nil%)",
        catch(server[name]))
    end
  end)

  it("survives a cancel sweep", function()
    local waits = test.cancel_sweep(function(sweep)
      local server <close> = net.serve(echo)
      sweep:track(server, function(s) return s:is_closed() and s:connections() == 0 end)
      local stream <close> = net.connect(server:address())
      stream:write "x\n"
      stream:read()
    end)
    assert.is_true(waits >= 2)
  end)

  it("serves nc, socat and curl", function()
    local server = serve(echo)
    local _, port = server:address()
    local done = neap.Event()
    local log = {}
    -- The programs are waited for in another process: this one has to serve them.
    local commands = {
      ("printf 'one\\n' | timeout 50 nc -N 127.0.0.1 %d"):format(port),
      ("printf 'two\\n' | timeout 50 socat -t 50 - TCP:127.0.0.1:%d,shut-down"):format(port),
    }
    local web = serve(function(stream)
      repeat local line = stream:read() until line == nil or line == "\r"
      stream:write "HTTP/1.0 200 OK\r\n\r\nthree\n"
    end)
    _, port = web:address()
    commands[3] = ("timeout 50 env -u LD_PRELOAD curl -s --noproxy '*' http://127.0.0.1:%d/")
      :format(port)
    local file = os.tmpname()
    assert(os.execute(("{ %s; echo end; } >%s 2>&1 </dev/null &"):format(table.concat(commands,
      "; "), file)))
    neap.create_task(function()
      repeat
        neap.sleep(0.005)
        log = output("cat " .. file)
      until log:find "end\n$"
      done:set()
    end)
    done:wait()
    os.remove(file)
    assert.equal("one\ntwo\nthree\nend\n", log)
  end)
end)

describe("neap.net.serve without descriptors", function()
  it("says so once, and goes on when there are some again", function()
    local result = helper.run([[
      local neap, net = require "neap", require "neap.net"
      local reports, report = 0, nil
      neap.get_event_loop():set_exception_handler(function(_, context)
        reports = reports + 1
        report = context
      end)
      local server = assert(net.serve(function(stream) stream:write(stream:read "L" or "") end))
      local clients, client, err = {}
      local spare = io.open "/dev/null"
      repeat -- both ends are in this process
        client, err = net.connect(server:address())
        clients[#clients + 1] = client
        neap.sleep(0.001)
      until err
      if reports == 0 then -- the last descriptor was the server's: this one will be a client's
        spare:close()
        clients[#clients + 1] = assert(net.connect(server:address()))
      end
      while reports == 0 do neap.sleep(0.01) end
      neap.sleep(0.25) -- it tries again meanwhile, without a word
      for i = 1, #clients // 2 do clients[i]:close() end
      for i = #clients // 2 + 1, #clients do
        clients[i]:write "x\n"
        assert(clients[i]:read() == "x")
        clients[i]:close()
      end
      print(reports, report.message)
      print(err.code, report.exception.code)
      server:close()
      server:wait_closed()
    ]], { env = "ulimit -n 64;" })
    assert.equal("", result.err)
    assert.matches("^1\tneap.net.serve cannot accept connections on <Listener 127.0.0.1:%d+>, "
      .. "and keeps trying\nEMFILE\tEMFILE\n$", result.out)
  end)
end)
