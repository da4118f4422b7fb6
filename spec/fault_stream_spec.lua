--- Streams on a network that splits, delays, resets, stalls and ends halfway.

local neap = require "neap"
local net = require "neap.net"
local helper = require "spec.helper"
local proxy = require "spec.support.proxy"

local start = helper.start
local open

local function keep(object, err)
  assert(object, err)
  open[#open + 1] = object
  return object
end

--- Two streams with a proxy between them: the client's side, the server's, the proxy.
--- `up` is from the client to the server.
local function link(faults)
  local listener = keep(net.listen {})
  local host, port = listener:address()
  local p = keep(proxy.start(host, port, faults))
  local client = keep(net.connect(p.host, p.port))
  local server = keep(listener:accept())
  return client, server, p
end

local function close_all()
  for i = #open, 1, -1 do (open[i].abort or open[i].close)(open[i]) end
  open = {}
  neap.sleep(0)
end

--- Writes all, and ends.
local function send(stream, data)
  return neap.create_task(function()
    stream:write(data)
    if not stream:is_closed() then stream:shutdown() end
  end)
end

--- `fn(...)` within a time that is long enough.
local function soon(fn, ...)
  local _ <close> = neap.timeout(50)
  return fn(...)
end

local function code_of(_, err) return err and err.code end

local READS = {
  { "read", "l" }, { "read", "L" }, { "read", "n" }, { "read", "n", "n" }, { "read", 5 },
  { "read", "l", 3, "n", "L" }, { "read_exactly", 7 }, { "read_until", "\r\n" },
  { "read_until", "ab", 64 }, { "read", 0 }, { "read", "l" }, { "read_until", "END" },
  { "read", 2, "a" }, { "read", "a" }, { "read", "l" }, { "read_exactly", 1 },
}

local TEXT = "one\n\ntwo\n 0x1Fp2 -7 .5e1\nfive5a line\nxyz -12 tail\nexactly" .. "head\r\n"
  .. "aacab" .. "zz\nx" .. "ENENEND" .. "all\nthe\0rest"

--- What all READS give; errors by their name and what they carry.
local function read_all(stream)
  local list = {}
  for i, one in ipairs(READS) do
    local got = table.pack(soon(stream[one[1]], stream, table.unpack(one, 2)))
    for k = 1, got.n do
      local err = neap.Error:is(got[k]) and got[k]
      if err then got[k] = ("%s %s"):format(err.name, tostring(err.partial)) end
    end
    list[i] = got
  end
  return list
end

describe("a stream on a bad network", function()
  before_each(function() open = {} end)
  after_each(function() close_all() end)

  it("gives the same to each format, wherever the pieces end", function()
    local client, server = link()
    send(client, TEXT)
    local expected = read_all(server)
    assert.equal("one", expected[1][1])
    assert.equal("END", expected[12][1]:sub(-3))
    assert.equal("all\nthe\0rest", expected[13][1] .. expected[13][2])
    for _, split in ipairs { 1, 2, 3, 5, 7, 11 } do
      local c, s = link { up = { split = split } }
      send(c, TEXT)
      assert.same(expected, read_all(s))
    end
    for at = 1, #TEXT - 1 do -- and in two pieces
      local listener = keep(net.listen {})
      local host, port = listener:address()
      local c = keep(net.connect(host, port))
      local s = keep(listener:accept())
      c:write(TEXT:sub(1, at)):flush()
      local task = start(read_all, s)
      c:write(TEXT:sub(at + 1)):shutdown()
      assert.same(expected, task:await())
      close_all()
    end
  end)

  it("ends iteration and long transfers the same", function()
    local lines = {}
    for i = 1, 300 do lines[i] = ("line %d %s"):format(i, ("x"):rep(i % 50)) end
    local text = table.concat(lines, "\n")
    local client, server = link { down = { split = 13 } }
    send(server, text)
    assert.same(lines, soon(helper.collect, client:lines()))
  end)

  it("says so when it is reset, after what came before", function()
    for _, read in ipairs {
      { "read", "l" }, { "read", "a" }, { "read", 10 }, { "read", "n" }, { "read_exactly", 10 },
      { "read_until", "\n" },
    } do
      local client, server = link { up = { reset_after = 3 } }
      client:write "123456\n"
      local _, err = soon(server[read[1]], server, table.unpack(read, 2))
      assert.equal("ECONNRESET", err.code)
      assert.equal("123", soon(server.read_some, server))
      assert.equal("ECONNRESET", code_of(soon(server.read_some, server)))
      assert.equal("ECONNRESET", code_of(soon(server.read, server, "a")))
      local _, refused = server:write "x"
      assert.is_true(refused.code == "ECONNRESET" or refused.code == "EPIPE")
      close_all()
    end
  end)

  it("is never taken for complete when it was reset, at whatever byte", function()
    local text = "twelve bytes"
    for n = 0, #text do
      local client, server = link { up = { reset_after = n } }
      send(client, text)
      local data, err = soon(server.read, server, "a")
      assert.is_nil(data)
      assert.equal("ECONNRESET", err.code)
      if n > 0 then assert.equal(text:sub(1, n), server:read(n)) end
      close_all()
    end
  end)

  it("raises it in lines", function()
    local client, server = link { up = { reset_after = 9 } }
    client:write "one\ntwo\nthree\n"
    local got = {}
    local err = helper.catch(soon, function()
      for line in server:lines() do got[#got + 1] = line end
    end)
    assert.equal("ECONNRESET", err.code)
    assert.same({ "one", "two" }, got)
  end)

  it("wakes whoever reads, writes, flushes or shuts down when it is reset", function()
    local big = ("x"):rep(8 << 20)
    for what, act in pairs {
      read = function(s) return s:read "l" end,
      write = function(s) return s:write(big) end,
      flush = function(s)
        s:set_write_limits(1 << 30)
        return s:write(big):flush()
      end,
      shutdown = function(s)
        s:set_write_limits(1 << 30)
        return s:write(big):shutdown()
      end,
    } do
      local client, _, p = link { up = { stall_after = 10 } }
      client:write "0123456789":flush()
      local task = start(act, client)
      neap.sleep(0.005)
      assert.is_false(task:done(), what)
      p:set { up = { reset_after = 10 } }
      local code = code_of(soon(task.await, task))
      assert.is_true(code == "ECONNRESET" or code == "EPIPE", what .. " " .. tostring(code))
      close_all()
    end
  end)

  it("wakes all writers and the reader at once", function()
    local client, _, p = link { up = { stall_after = 1 } }
    local tasks = { start(client.read, client, "l") }
    for i = 1, 5 do tasks[i + 1] = start(client.write, client, ("x"):rep(8 << 20)) end
    neap.sleep(0.005)
    p:set { up = { reset_after = 1 } }
    for _, task in ipairs(tasks) do
      local code = code_of(soon(task.await, task))
      assert.is_true(code == "ECONNRESET" or code == "EPIPE")
    end
  end)

  it("is only late where the network stalls", function()
    local client, server, p = link { up = { stall_after = 4 } }
    client:write "part one\n"
    for _ = 1, 3 do
      assert.is_true(neap.TimeoutError:is(helper.catch(helper.within, 0.002, function()
        server:read "l"
      end)))
    end
    p:set()
    assert.equal("part one", soon(server.read, server))
    assert.equal(0, client:pending())
  end)

  it("keeps the order when writers ran into time-outs", function()
    local client, server, p = link { up = { stall_after = 0 } }
    local pieces = {}
    for i = 1, 12 do
      pieces[i] = string.char(64 + i):rep(i % 3 == 0 and 700000 or 100 * i)
      pcall(helper.within, 0.001, function() client:write(pieces[i]) end)
    end
    local task = neap.create_task(client.shutdown, client)
    p:set()
    assert.is_true(soon(server.read, server, "a") == table.concat(pieces))
    assert.equal(client, task:await())
  end)

  it("can be written to when the other direction has ended, and read from", function()
    local client, server = link { down = { close_after = 2 } }
    server:write "abcd"
    assert.equal("ab", soon(client.read, client, "a"))
    client:write "still\n":flush()
    assert.equal("still", soon(server.read, server))
    client:shutdown()
    assert.is_nil(soon(server.read, server))
    client, server = link { up = { close_after = 3 } }
    send(client, "abcdef")
    assert.equal("abc", soon(server.read, server, "a"))
    server:write "answer":shutdown()
    assert.equal("answer", soon(client.read, client, "a"))
  end)

  it("delivers after its close what a stall holds up, and then lets go", function()
    local before = helper.descriptors()
    local client, server, p = link { up = { stall_after = 0 } }
    local data = ("0123456789"):rep(600000)
    client:set_write_limits(1 << 30)
    client:write(data)
    client:close()
    neap.sleep(0.005)
    p:set()
    assert.is_true(soon(server.read, server, "a") == data)
    server:close()
    p:close()
    close_all()
    helper.await_descriptors(before)
  end)

  it("lets go at once when it is reset after its close", function()
    local before = helper.descriptors()
    local client, server, p = link { up = { stall_after = 0 } }
    client:write "x":flush()
    client:set_write_limits(1 << 30)
    client:write(("x"):rep(8 << 20))
    client:close()
    p:set { up = { reset_after = 0 } }
    server:close()
    close_all()
    helper.await_descriptors(before)
  end)

  it("may be collected while its last bytes leave", function()
    local client, server = net.pair()
    local data = ("x"):rep(4 << 20)
    client:set_write_limits(1 << 30)
    client:write(data)
    client:close()
    client = nil
    collectgarbage()
    collectgarbage()
    assert.is_nil(client)
    assert.is_true(soon(server.read, server, "a") == data)
    server:close()
  end)

  it("reset() gives the peer an error at once, and loses what was not sent", function()
    local client, server = link()
    client:write "hello":flush()
    assert.equal("hello", soon(server.read, server, 5))
    local task = start(server.read, server, "l")
    local mine = start(client.read, client, "l")
    client:reset()
    client:reset()
    client:close()
    assert.equal("ECONNRESET", code_of(soon(task.await, task)))
    assert.equal("EBADF", code_of(soon(mine.await, mine)))
  end)
end)

describe("a pipe on a bad network", function()
  before_each(function() open = {} end)
  after_each(function() close_all() end)

  --- A chain: client to middle, which pipes to the end.
  local function chain(first, second)
    local client, from, p1 = link(first)
    local to, sink, p2 = link(second)
    return client, sink, from, to, p1, p2
  end

  it("copies the same, split, delayed and stalled", function()
    local data = TEXT:rep(20)
    local client, sink, from, to, p1, p2 =
      chain({ up = { split = 17 } }, { up = { split = 3, stall_after = 1000 } })
    send(client, data)
    local task = neap.create_task(from.pipe, from, to)
    assert.equal(data:sub(1, 1000), soon(sink.read, sink, 1000))
    p1:set()
    p2:set()
    assert.equal(#data, soon(task.await, task))
    to:shutdown()
    assert.equal(data:sub(1001), soon(sink.read, sink, "a"))
  end)

  it("says which side was reset", function()
    local client, sink, from, to = chain { up = { reset_after = 5 } }
    send(client, "0123456789")
    local n, err = soon(from.pipe, from, to)
    assert.is_nil(n)
    assert.same({ "ECONNRESET", "read" }, { err.code, err.op })
    assert.equal("01234", soon(sink.read, sink, 5))
    client, sink, from, to = chain(nil, { up = { reset_after = 5 } })
    local writer = neap.create_task(function()
      while client:write(("x"):rep(10000)) do neap.sleep(0) end
    end)
    n, err = soon(from.pipe, from, to)
    assert.is_nil(n)
    assert.is_true(err.code == "ECONNRESET" or err.code == "EPIPE")
    assert.equal("write", err.op)
    assert.equal("xxxxx", sink:read(5))
    from:reset()
    soon(writer.await, writer)
  end)

  it("holds no more than its buffers when its target stalls", function()
    local client, _, from, to = chain(nil, { up = { stall_after = 0 } })
    local sent = 0
    local writer = neap.create_task(function()
      while client:write(("x"):rep(100000)) do sent = sent + 100000 end
    end)
    local task = start(from.pipe, from, to)
    local last = -1
    while sent ~= last do
      last = sent
      neap.sleep(0.03)
    end
    assert.is_true(to:pending() <= 256 * 1024, to:pending())
    task:cancel()
    writer:cancel()
    neap.wait { task, writer }
  end)

  it("that timed out has lost nothing", function()
    local data = TEXT:rep(300)
    local client, sink, from, to = chain({ up = { split = 500 } }, { up = { split = 900 } })
    send(client, data)
    local rounds = 0
    while true do
      rounds = rounds + 1
      local ok, n = pcall(helper.within, 0.001, function() return from:pipe(to) end)
      if ok and n then break end
      assert.is_true(not ok and neap.TimeoutError:is(n), n)
    end
    assert.is_true(rounds > 1)
    local reader = neap.create_task(sink.read, sink, "a")
    to:shutdown()
    assert.is_true(soon(reader.await, reader) == data)
  end)

  it("goes both ways at once until both ends", function()
    local a, left = link { up = { split = 100 }, down = { split = 77 } }
    local right, b = link { up = { split = 33 } }
    local up, down = TEXT:rep(30), TEXT:reverse():rep(25)
    send(a, up)
    send(b, down)
    local group = neap.create_task(function()
      local g <close> = neap.TaskGroup()
      for _, way in ipairs { { left, right }, { right, left } } do
        g:create_task(function()
          way[1]:pipe(way[2])
          way[2]:shutdown()
        end)
      end
    end)
    local x, y = soon(neap.gather, function() return b:read "a" end,
      function() return a:read "a" end)
    assert.is_true(x == up and y == down)
    group:await()
  end)
end)

describe("descriptors", function()
  before_each(function() open = {} end)

  it("are all given back, whatever went wrong", function()
    local before = helper.descriptors()
    for _, faults in ipairs {
      {}, { up = { reset_after = 2 } }, { down = { reset_after = 2 } }, { drop = true },
      { drop = "reset" }, { up = { close_after = 1 } }, { down = { stall_after = 1 } },
      { up = { split = 1 }, down = { split = 1, delay = 0.001 } },
    } do
      for _ = 1, 5 do
        local server = keep(net.serve(function(stream) stream:pipe(stream) end, {}))
        local host, port = server:address()
        local p = keep(proxy.start(host, port, faults))
        local client = net.connect(p.host, p.port)
        if client then
          pcall(helper.within, 0.005, function()
            client:write "abc"
            if not client:is_closed() then client:shutdown() end
            return client:read "a"
          end)
          client:close()
        end
        p:close()
        server:shutdown(0)
      end
    end
    open = {}
    helper.await_descriptors(before)
  end)
end)
