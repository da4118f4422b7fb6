--- neap.net.serve with peers and handlers that do their worst.

local neap = require "neap"
local net = require "neap.net"
local helper = require "spec.helper"
local proxy = require "spec.support.proxy"
local unused = require("spec.support.port").unused

local start, settle = helper.start, helper.settle
local open

local function keep(object, err)
  assert(object, err)
  open[#open + 1] = object
  return object
end

local function serve(handler, opts) return keep(net.serve(handler, opts or {})) end

local function connect(server, opts)
  local host, port = server:address()
  return keep(net.connect(host, port, opts))
end

local function through(server, faults)
  local host, port = server:address()
  local p = keep(proxy.start(host, port, faults))
  return keep(net.connect(p.host, p.port)), p
end

--- `fn(...)` within a time that is long enough.
local function soon(fn, ...)
  local _ <close> = neap.timeout(50)
  return fn(...)
end

--- Waits until the server has so many connections.
local function await_connections(server, n)
  soon(function()
    while server:connections() ~= n do neap.sleep(0.001) end
  end)
end

local function echo(stream)
  while true do
    local data = stream:read_some()
    if not data or not stream:write(data) then return end
  end
end

local function echoes(stream, text)
  assert(stream:write(text))
  return soon(stream.read_exactly, stream, #text) == text
end

describe("a server", function()
  local before

  before_each(function()
    open = {}
    before = helper.descriptors()
  end)

  after_each(function()
    for i = #open, 1, -1 do
      local one = open[i]
      if one.shutdown and one.connections then
        one:shutdown(0)
      else
        one:close()
      end
    end
    open = {}
    helper.await_descriptors(before)
  end)

  it("goes on when connections are reset, at any time", function()
    local server = serve(echo)
    local good = connect(server)
    for n = 0, 5 do
      local bad = through(server, { up = { reset_after = n } })
      bad:write "hello"
      soon(bad.read, bad, "a")
      bad = through(server, { down = { reset_after = n } })
      bad:write "hello"
      soon(bad.read, bad, "a")
      bad = connect(server)
      bad:write "hello"
      bad:reset()
    end
    await_connections(server, 1)
    assert.is_true(echoes(good, "still here"))
  end)

  it("does not report what a peer's going makes a handler raise", function()
    local ended = 0
    local server = serve(function(stream)
      local _ <close> = helper.closing(function() ended = ended + 1 end)
      while true do
        local ok, err = stream:write(("x"):rep(100000))
        if not ok then error(err, 0) end
      end
    end)
    for _ = 1, 5 do
      local bad = connect(server)
      soon(bad.read, bad, 10)
      bad:reset()
    end
    await_connections(server, 0)
    assert.equal(5, ended)
    assert.same({}, helper.reports.take())
  end)

  it("reports each handler that fails, closes its stream, and goes on", function()
    local failures = { "text", { 1 }, neap.Error "object", nil }
    local count = 0
    local server = serve(function(stream)
      count = count + 1
      local what = count
      stream:write "before":flush()
      if what % 2 == 0 then neap.sleep(0) end
      if what <= 4 then error(failures[what], 0) end
      if what == 5 then
        local g <close> = neap.TaskGroup()
        g:create_task(error, "in a group")
        neap.sleep(60)
      end
      echo(stream)
    end)
    for _ = 1, 5 do
      local stream = connect(server)
      assert.equal("before", soon(stream.read, stream, "a"))
    end
    local good = connect(server)
    assert.equal("before", soon(good.read, good, 6))
    assert.is_true(echoes(good, "good"))
    await_connections(server, 1)
    local reports = helper.reports.take()
    assert.equal(5, #reports)
    for _, context in ipairs(reports) do
      assert.equal("Unhandled error in a connection handler of neap.net.serve", context.message)
    end
  end)

  it("lives through handlers that cancel themselves or close their stream", function()
    local n = 0
    local server = serve(function(stream)
      n = n + 1
      if n == 1 then
        neap.current_task():cancel()
        neap.sleep(60)
      elseif n == 2 then
        stream:close()
      elseif n == 3 then
        stream:reset()
      elseif n == 4 then
        stream:abort()
        stream:close()
      else
        echo(stream)
      end
    end)
    for _ = 1, 4 do
      local stream = connect(server)
      soon(stream.read, stream, "l")
    end
    assert.is_true(echoes(connect(server), "x"))
    await_connections(server, 1)
  end)

  it("answers a peer that has said all, and one whose answer takes long", function()
    local server = serve(function(stream)
      local text = stream:read "a"
      neap.sleep(0.005)
      stream:write(text:reverse())
    end)
    local stream = connect(server)
    stream:write "abc":shutdown()
    assert.equal("cba", soon(stream.read, stream, "a"))
    stream = through(server, { up = { close_after = 2 } })
    stream:write "abc"
    assert.equal("ba", soon(stream.read, stream, "a"))
  end)

  it("is not held up by connections that stall", function()
    local server = serve(function(stream)
      for line in stream:lines() do stream:write(line, "\n") end
    end)
    local stalled = {}
    for i = 1, 20 do
      local p
      stalled[i], p = through(server, { up = { stall_after = i } })
      stalled[i]:write "a line that stops halfway\n"
      stalled[i] = { stalled[i], p }
    end
    assert.is_true(echoes(connect(server), "quick\n"))
    for _, one in ipairs(stalled) do one[2]:set() end
    for _, one in ipairs(stalled) do
      assert.equal("a line that stops halfway", soon(one[1].read, one[1]))
    end
  end)

  it("survives a flood of connections that go at once", function()
    local server = serve(echo)
    local host, port = server:address()
    local n = helper.many(400)
    local tasks = {}
    for i = 1, n do
      tasks[i] = neap.create_task(function()
        local stream = net.connect(host, port)
        local how = ({ [0] = "reset", "close", "abort" })[i % 3]
        if stream then stream[how](stream) end
      end)
    end
    soon(neap.gather, tasks)
    assert.is_true(echoes(connect(server), "alive"))
    await_connections(server, 1)
  end)

  it("takes no more than its limit, and the next ones when there is room", function()
    local most, now = 0, 0
    local server = serve(function(stream)
      now = now + 1
      most = math.max(most, now)
      local _ <close> = helper.closing(function() now = now - 1 end)
      echo(stream)
    end, { limit = 3 })
    local streams = {}
    for i = 1, 9 do streams[i] = connect(server) end
    for i = 1, 9 do streams[i]:write "x":flush() end
    await_connections(server, 3)
    settle()
    for i = 1, 9 do
      assert.equal("x", soon(streams[i].read, streams[i], 1))
      assert.is_true(server:connections() <= 3)
      streams[i][i % 2 == 0 and "reset" or "close"](streams[i])
    end
    assert.equal(3, most)
    await_connections(server, 0)
  end)

  it("has room again after handlers failed, and peers went while they queued", function()
    local server = serve(function(stream)
      if stream:read "l" == "fail" then error "on purpose" end
      stream:write "fine\n"
    end, { limit = 1 })
    local held = connect(server)
    await_connections(server, 1)
    for i = 1, 10 do
      local gone = connect(server)
      gone[i % 2 == 0 and "reset" or "close"](gone)
    end
    local last = connect(server)
    last:write "go\n"
    held:write "fail\n"
    assert.equal("fine", soon(last.read, last))
    await_connections(server, 0)
    assert.equal(1, #helper.reports.take())
  end)

  it("closes while connections are in every state", function()
    local states = {
      function(stream) stream:read "l" end,
      function(stream) stream:write(("x"):rep(8 << 20)) end,
      function(stream)
        stream:set_write_limits(1 << 30)
        stream:write(("x"):rep(8 << 20))
        stream:flush()
      end,
      function(stream) stream:pipe(stream) end,
      function() neap.sleep(600) end,
      function(stream)
        stream:write "end"
        stream:shutdown()
        stream:read "a"
      end,
      function(stream)
        local g <close> = neap.TaskGroup()
        g:create_task(stream.read, stream, "a")
        g:create_task(stream.write, stream, ("x"):rep(8 << 20))
      end,
      function() pcall(neap.sleep, 600) end,
    }
    for _, way in ipairs { "shutdown 0", "shutdown", "close", "block" } do
      local n = 0
      local server = serve(function(stream)
        n = n + 1
        states[(n - 1) % #states + 1](stream)
      end, { limit = #states, port = unused() })
      for _ = 1, #states + 3 do connect(server) end -- the last ones wait for room
      await_connections(server, #states)
      if way == "shutdown 0" then
        assert.equal(#states, soon(server.shutdown, server, 0))
      elseif way == "shutdown" then
        assert.equal(#states, soon(server.shutdown, server, 0.005))
      elseif way == "close" then
        server:close()
        assert.equal(#states, server:connections())
        local host, port = server:address()
        assert.is_nil((net.connect(host, port)))
        local waiter = start(server.wait_closed, server)
        for i = 1, #open do
          if open[i].reset then open[i]:reset() end
        end
        await_connections(server, 2) -- those that sleep
        assert.is_false(waiter:done())
        soon(server.shutdown, server, 0)
        soon(waiter.await, waiter)
      else
        do
          local _server <close> = server
        end
      end
      assert.equal(0, server:connections())
      assert.is_true(server:is_closed())
      soon(server.wait_closed, server)
    end
  end)

  it("ends with its loop, connections in every state", function()
    local port = unused()
    neap.run(function()
      local server = net.serve(function(stream)
        stream:write(("x"):rep(4 << 20))
        stream:read "a"
      end, { limit = 4, port = port })
      local host = server:address()
      local streams = {}
      for i = 1, 6 do streams[i] = net.connect(host, port) end
      neap.create_task(streams[1].read, streams[1], "l")
      neap.create_task(streams[2].pipe, streams[2], streams[3])
      neap.sleep(0.01)
    end)
    assert.equal("ECONNREFUSED", select(2, net.connect("127.0.0.1", port)).code)
  end)

  it("goes on when descriptors run out, and says so once #host", function()
    local result = helper.run([[
      local neap, net = require "neap", require "neap.net"
      local reports = 0
      neap.get_event_loop():set_exception_handler(function(_, context)
        assert(context.exception.code == "EMFILE", tostring(context.exception))
        reports = reports + 1
      end)
      local server = net.serve(function(stream) stream:pipe(stream) end, {})
      local host, port = server:address()
      local streams, spare = {}, {}
      for i = 1, 10 do streams[i] = assert(net.connect(host, port)) end
      while server:connections() < 10 do neap.sleep(0.001) end
      while true do -- all descriptors but those of three connections, which have one each here
        local file = io.open "/dev/null"
        if not file then break end
        spare[#spare + 1] = file
      end
      for i = 1, 3 do table.remove(spare):close() end
      local tasks = {}
      for i = 1, 3 do tasks[i] = neap.create_task(net.connect, host, port) end
      for i = 1, 3 do streams[10 + i] = assert(tasks[i]:await()) end
      while reports == 0 do neap.sleep(0.001) end
      neap.sleep(0.25)
      assert(server:connections() == 10, server:connections())
      assert(reports == 1, reports)
      streams[1]:write "old":flush()
      assert(streams[1]:read(3) == "old")
      for _, file in ipairs(spare) do file:close() end
      for i = 11, 13 do
        streams[i]:write "new"
        assert(streams[i]:read(3) == "new")
      end
      assert(server:connections() == 13 and reports == 1)
      for _, stream in ipairs(streams) do stream:close() end
      server:shutdown()
      print "fine"
    ]], { env = "ulimit -n 64;" })
    assert.equal("fine\n", result.out .. result.err)
  end)
end)
