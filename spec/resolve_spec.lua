--- Names to addresses: net.resolve.

local neap = require "neap"
local net = require "neap.net"
local dns = require "neap.core.dns"
local helper = require "spec.helper"
local servers = require "spec.support.dns"
local unused = require("spec.support.port").unused
local test = require "neap.test"

local has_cares = dns.backend() == "c-ares"

--- "address family port" of each result.
local function texts(list, err)
  assert(list, err)
  local out = {}
  for i, one in ipairs(list) do
    out[i] = one.address .. " " .. one.family .. (one.port and " " .. one.port or "")
  end
  return out
end

local function sorted(...)
  local list = texts(...)
  table.sort(list)
  return list
end

describe("an address", function()
  it("is given back without a wait", function()
    assert.same({ "127.0.0.1 inet" }, texts(net.resolve "127.0.0.1"))
    assert.same({ "::1 inet6 80" }, texts(net.resolve("::1", { port = 80 })))
    assert.same({ "fe80::1%lo inet6" }, texts(net.resolve "fe80::1%lo"))
    -- Not even where one cannot wait.
    local list
    neap.get_event_loop():call_soon(function() list = net.resolve "10.0.0.1" end)
    neap.sleep(0)
    assert.same({ "10.0.0.1 inet" }, texts(list))
  end)

  it("is written in full", function()
    local plain = { ["::ffff:1.2.3.4"] = "::ffff:1.2.3.4", ["0:0:0:0:0:0:0:1"] = "::1",
      ["2001:DB8::A"] = "2001:db8::a", ["255.255.255.255"] = "255.255.255.255" }
    for text, address in pairs(plain) do
      assert.equal(address, net.resolve(text, { numeric = true })[1].address)
    end
    for _, text in ipairs { "1.2.3", "1.2.3.4 ", "256.1.1.1", "01.2.3.4.5", "::g", "[::1]", ":",
      "1.2.3.4%lo", "%", "", "1.2.3.4\0", ("1"):rep(1000), "1:2:3:4:5:6:7:8:9" } do
      local list, err = net.resolve(text, { numeric = true })
      assert.is_nil(list)
      assert.equal("EAI_NONAME", err.code)
    end
  end)

  it("is refused where it is of the other family, or its scope is not there", function()
    local list, err = net.resolve("::1", { family = "inet" })
    assert.is_nil(list)
    assert.equal("EAI_ADDRFAMILY", err.code)
    list, err = net.resolve "fe80::1%nosuch0"
    assert.is_nil(list)
    assert.equal("ENODEV", err.code)
  end)

  it("is all that is taken where one says so", function()
    assert.same({ "1.2.3.4 inet" }, texts(net.resolve("1.2.3.4", { numeric = true })))
    local list, err = net.resolve("localhost", { numeric = true })
    assert.is_nil(list)
    assert.equal("EAI_NONAME", err.code)
  end)
end)

describe("net.resolve", function()
  it("says which argument is wrong", function()
    assert.matches("bad argument #1 to 'neap.net.resolve' %(string expected, got nil%)",
      helper.catch(net.resolve))
    assert.matches("bad argument #2", helper.catch(net.resolve, "x", "inet"))
    assert.matches("bad option 'family' .*\"inet\" or \"inet6\" expected",
      helper.catch(net.resolve, "x", { family = "unix" }))
    assert.matches("bad option 'port'", helper.catch(net.resolve, "x", { port = -1 }))
    assert.matches("bad option 'servers'", helper.catch(net.resolve, "x", { servers = {} }))
    assert.matches("unknown option 'famly'", helper.catch(net.resolve, "x", { famly = "inet" }))
  end)

  it("opens c-ares with the first name, not before", function()
    local result = helper.run [[
      local net = require "neap.net"
      local function mapped()
        local maps <close> = io.open "/proc/self/maps"
        return maps:read "a":find("libcares", 1, true) ~= nil
      end
      net.resolve "127.0.0.1"
      print(mapped())
      print(net.resolve "localhost" ~= nil)
      print(mapped() == (require "neap.core.dns".backend() == "c-ares"))
    ]]
    assert.same({ out = "false\ntrue\ntrue\n", err = "", code = 0 }, result)
  end)

  it("leaves names to libuv where the environment says so", function()
    local result = helper.run([[
      local net = require "neap.net"
      assert(net.resolve("localhost", { family = "inet" }))
      print(require "neap.core.dns".backend())
      local maps <close> = io.open "/proc/self/maps"
      print(maps:read "a":find("libcares", 1, true))
      print(select(2, net.resolve("x.test", { servers = { "127.0.0.1:1" } })).code)
    ]], { env = "NEAP_RESOLVER=libuv" })
    assert.same({ out = "libuv\nnil\nENOTSUP\n", err = "", code = 0 }, result)
  end)
end)

for _, backend in ipairs { "c-ares", "libuv" } do
  local define = (backend == "libuv" or has_cares) and describe or pending
  define("names by " .. backend, function()
    before_each(function() dns.backend(backend) end)
    after_each(function()
      while dns.pending() > 0 do neap.sleep(0.001) end
      dns.backend "c-ares"
    end)

    it("are found in the system's own list", function()
      assert.equal(backend, dns.backend())
      assert.same({ "127.0.0.1 inet" }, texts(net.resolve("localhost", { family = "inet" })))
      assert.same({ "127.0.0.1 inet 8080" },
        texts(net.resolve("localhost", { family = "inet", port = 8080 })))
      assert.same({ "127.0.0.1 inet 443" },
        texts(net.resolve("127.0.0.1", { service = "https" })))
    end)

    it("are found in a task and in the main chunk", function()
      local task = neap.create_task(net.resolve, "localhost", { family = "inet" })
      assert.same({ "127.0.0.1 inet" }, texts(task:await()))
    end)

    it("are no names when they are empty, long or have zeros", function()
      for _, name in ipairs { "", "a\0b", ("x"):rep(300), "a..b" } do
        local list, err = net.resolve(name)
        assert.is_nil(list)
        assert.is_true(neap.OSError:is(err))
        assert.matches("^EAI_", err.code)
        assert.equal("resolve", err.op)
      end
    end)

    it("leave nothing behind wherever they are cancelled", function()
      local before = helper.descriptors()
      test.cancel_sweep(function()
        assert(net.resolve "localhost")
        local tasks = {}
        for i = 1, 5 do tasks[i] = neap.create_task(net.resolve, "localhost") end
        local _ <close> = helper.closing(function()
          for _, task in ipairs(tasks) do task:cancel() end
        end)
        for i = 1, 5 do assert(tasks[i]:await()) end
      end, { outcome = "any" })
      while dns.pending() > 0 do neap.sleep(0.001) end
      helper.await_descriptors(before)
    end)

    it("end with their loop", function()
      local before = helper.descriptors()
      neap.run(function()
        for _ = 1, 5 do neap.create_task(net.resolve, "localhost") end
        neap.sleep(0)
      end)
      helper.await_descriptors(before)
    end)
  end)
end

describe("libuv's threads", function()
  before_each(function() dns.backend "libuv" end)
  after_each(function()
    while dns.pending() > 0 do neap.sleep(0.001) end
    dns.backend "c-ares"
  end)

  it("are asked for two names at a time, the others stand in line", function()
    local tasks, most = {}, 0
    for i = 1, 50 do
      tasks[i] = neap.create_task(function()
        local list = assert(net.resolve("localhost", { family = "inet" }))
        most = math.max(most, (dns.pending()))
        return list[1].address
      end)
    end
    neap.create_task(function() most = math.max(most, (dns.pending())) end):await()
    for i = 1, 50 do assert.equal("127.0.0.1", tasks[i]:await()) end
    assert.equal(2, most)
    assert.same({ 0, 0 }, { dns.pending() })
  end)

  it("are not asked for a name whose task left the line", function()
    local tasks = {}
    for i = 1, 10 do tasks[i] = neap.create_task(net.resolve, "localhost") end
    local seen
    local watcher = neap.create_task(function()
      local active, waiting = dns.pending()
      seen = active + waiting
      for i = 1, 10 do tasks[i]:cancel() end
      return select(2, dns.pending())
    end)
    assert.equal(0, watcher:await())
    assert.is_true(seen <= 10)
    for i = 1, 10 do pcall(tasks[i].await, tasks[i]) end
  end)
end)

describe("slow names on libuv's threads", function()
  it("leave threads to files, and are let go at once", function()
    local wrap = "unshare -rmn sh -c 'ip link set lo up && mount --bind resolv.conf "
      .. "/etc/resolv.conf && \"$@\"' sh"
    if not os.execute(wrap:gsub("%-%-bind resolv.conf", "--bind /dev/null") .. " true 2>/dev/null")
    then
      pending "this system gives no name spaces to put a resolv.conf into"
    end
    local result = helper.run([[
      local neap, net, fs = require "neap", require "neap.net", require "neap.fs"
      local dns = require "neap.core.dns"
      local server = assert(net.udp { host = "127.0.0.1", port = 53 })
      local tasks = {}
      for i = 1, 10 do tasks[i] = neap.create_task(net.resolve, "slow" .. i .. ".test") end
      local query, host, port = server:recv() -- the first one is being asked for
      print(dns.backend(), dns.pending())
      for _ = 1, 20 do assert(fs.stat ".") end
      print(dns.pending()) -- and was all the time
      for i = 1, 10 do tasks[i]:cancel() end
      for i = 1, 10 do pcall(tasks[i].await, tasks[i]) end
      print(dns.pending())
      local answers = neap.create_task(function() -- no name has these
        repeat
          server:send(query:sub(1, 2) .. "\x81\x83" .. query:sub(5), host, port)
          query, host, port = server:recv()
        until not query
      end)
      while dns.pending() > 0 do neap.sleep(0.001) end
      server:close()
      answers:await()
    ]], {
      files = { ["resolv.conf"] = "nameserver 127.0.0.1\n" },
      env = "NEAP_RESOLVER=libuv RES_OPTIONS='timeout:30 attempts:1' " .. wrap,
    })
    assert.same({ out = "libuv\t2\t8\n2\t8\n2\t0\n", err = "", code = 0 }, result)
  end)
end)

describe("without descriptors left", function()
  it("names and sockets are refused, and work again afterwards", function()
    local result = helper.run([[
      local neap, net = require "neap", require "neap.net"
      local core = require "neap.core.test"
      local server = assert(net.udp { host = "127.0.0.1" })
      local _, port = server:address()
      local opts = { servers = { "127.0.0.1:" .. port }, timeout = 10 }
      local taken = {}
      repeat
        local r, w = core.pipe()
        taken[#taken + 1], taken[#taken + 2] = r, r and w
      until not r
      taken[#taken + 1] = core.fd_dup(0)
      local list, err = net.resolve("x.test", opts)
      print(list, err.code)
      print(select(2, net.resolve "x.test").code)
      print(select(2, net.udp()).code)
      for _, fd in ipairs(taken) do core.fd_close(fd) end
      neap.create_task(function()
        local q, host, from = server:recv()
        server:send(q:sub(1, 2) .. "\x81\x83" .. q:sub(5), host, from)
      end)
      opts.family = "inet"
      print(select(2, net.resolve("x.test", opts)).code)
    ]], { env = "ulimit -n 24;" })
    if not has_cares then pending "needs c-ares" end
    assert.same({ out = "nil\tEMFILE\nEMFILE\nEMFILE\nEAI_NONAME\n", err = "", code = 0 }, result)
  end)
end)

local define = has_cares and describe or pending
define("servers", function()
  local server
  local slow = 0
  after_each(function()
    if server then server:close() end
    server = nil
    slow = 0
  end)

  local function serve(answers)
    server = servers.start(answers)
    return server
  end

  local function ask(name, opts)
    opts = opts or {}
    opts.servers = server.servers
    return net.resolve(name, opts)
  end

  local function never()
    slow = slow + 1
    return false
  end

  it("are asked for both kinds of addresses", function()
    serve { ["two.test"] = { "192.0.2.1", "192.0.2.2", "2001:db8:0:0:0:0:0:1" } }
    assert.same({ "192.0.2.1 inet", "192.0.2.2 inet", "2001:db8::1 inet6" },
      sorted(ask "two.test"))
    assert.same({ "192.0.2.1 inet 80", "192.0.2.2 inet 80" },
      sorted(ask("two.test", { family = "inet", port = 80 })))
    assert.same({ "2001:db8::1 inet6 443" },
      sorted(ask("two.test", { family = "inet6", service = "https" })))
  end)

  it("say what is wrong with a name", function()
    serve { ["none.test"] = {}, ["broken.test"] = "servfail" }
    local cases = { ["no.such.test"] = "EAI_NONAME", ["none.test"] = "EAI_NODATA",
      ["broken.test"] = "EAI_AGAIN" }
    for name, code in pairs(cases) do
      local list, err = ask(name)
      assert.is_nil(list)
      assert.equal(code, err.code)
      assert.matches("resolve " .. name .. ": ", err.message, 1, true)
    end
  end)

  it("that do not listen are told as such", function()
    local list, err = net.resolve("x.test", { servers = { "127.0.0.1:" .. unused() } })
    assert.is_nil(list)
    assert.equal("EAI_AGAIN", err.code)
  end)

  it("that cannot be understood are refused", function()
    local list, err = net.resolve("x.test", { servers = { "no server" } })
    assert.is_nil(list)
    assert.equal("EINVAL", err.code)
  end)

  it("may answer late", function()
    serve {
      ["late.test"] = function()
        neap.sleep(0.02)
        return { "192.0.2.7" }
      end,
    }
    assert.same({ "192.0.2.7 inet" }, texts(ask "late.test"))
  end)

  it("may have more to say than a datagram holds", function()
    local long = {}
    local tcp
    for i = 1, 100 do long[i] = "192.0.2." .. i end
    repeat -- until the port is free for TCP as well
      if server then server:close() end
      serve { ["long.test"] = "truncated" }
      tcp = servers.start_tcp(server.port, { ["long.test"] = long })
    until tcp
    assert.equal(100, #assert(ask("long.test", { family = "inet" })))
    tcp:close()
    tcp:wait_closed()
  end)

  it("that never answer can be given up", function()
    serve { ["slow.test"] = never }
    local before = helper.descriptors()
    assert.is_true(neap.TimeoutError:is(helper.catch(ask, "slow.test", { timeout = 0.01 })))
    local task = helper.start(ask, "slow.test")
    task:cancel()
    assert.is_true(helper.is_cancelled(helper.catch(task.await, task)))
    assert.is_true(neap.TimeoutError:is(helper.catch(neap.wait_for, ask, 0.01, "slow.test")))
    helper.await_descriptors(before)
  end)

  it("may hang: other names, and files, do not wait for them", function()
    serve { ["quick.test"] = { "192.0.2.9" } }
    local hanging = servers.start(setmetatable({}, { __index = function() return never end }))
    local tasks = {}
    for i = 1, 100 do
      tasks[i] = neap.create_task(net.resolve, ("n%d.test"):format(i),
        { servers = hanging.servers })
      -- The same server may be slow for some names and not for others.
      tasks[100 + i] = neap.create_task(ask, "slow" .. i .. ".test")
      server.answers["slow" .. i .. ".test"] = never
    end
    while slow < 200 do neap.sleep(0.001) end
    local began = neap.get_event_loop():time()
    assert.same({ "192.0.2.9 inet" }, texts(ask "quick.test"))
    assert.same({ "127.0.0.1 inet" }, texts(net.resolve("localhost", { family = "inet" })))
    assert.is_table(require "neap.fs".stat ".")
    assert.is_true(neap.get_event_loop():time() - began < 5)
    for i = 1, 200 do
      assert.is_false(tasks[i]:done())
      tasks[i]:cancel()
    end
    for i = 1, 200 do pcall(tasks[i].await, tasks[i]) end
    hanging:close()
  end)

  it("answer queries whose neighbours were cancelled", function()
    local gate = neap.Event()
    serve {
      ["slow.test"] = never,
      ["held.test"] = function()
        gate:wait()
        return { "192.0.2.3" }
      end,
    }
    local first = helper.start(ask, "slow.test")
    local second = helper.start(ask, "held.test")
    while #server.asked < 4 do neap.sleep(0.001) end
    first:cancel()
    pcall(first.await, first)
    gate:set()
    assert.same({ "192.0.2.3 inet" }, texts(second:await()))
  end)

  it("leave nothing behind wherever the asking task is cancelled", function()
    local before = helper.descriptors()
    test.cancel_sweep(function()
      local one <close> = servers.start { ["a.test"] = { "192.0.2.1" } }
      assert(net.resolve("a.test", { servers = one.servers }))
      assert(net.resolve("a.test", { servers = one.servers, timeout = 60 }))
    end)
    helper.await_descriptors(before)
  end)

  it("that hang do not outlive their loop", function()
    local before = helper.descriptors()
    neap.run(function()
      local one = servers.start { ["slow.test"] = never }
      for _ = 1, 3 do
        neap.create_task(net.resolve, "slow.test", { servers = one.servers })
      end
      while slow < 3 do neap.sleep(0.001) end
    end)
    helper.await_descriptors(before)
  end)

  it("are told in reports", function()
    serve { ["slow.test"] = never }
    local task = helper.start(ask, "slow.test")
    assert.matches([[waiting in 'neap.net.resolve' for "slow.test"]],
      tostring(neap.get_event_loop():dump()), 1, true)
    task:cancel()
    pcall(task.await, task)
  end)
end)
