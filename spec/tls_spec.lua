--- TLS on streams. What is refused: tls_verify_spec; other programs: tls_peer_spec;
--- contexts: tls_context_spec.

local neap = require "neap"
local net = require "neap.net"
local test = require "neap.test"
local helper = require "spec.helper"
local certs = require "spec.support.certs"
local secure = require "spec.support.secure"

local update_keys = require "neap.core.tls".update_keys
local catch, start, in_task = helper.catch, helper.start, helper.in_task

local MUCH = ("0123456789abcdef"):rep(1 << 16) -- 1 MB

--- Copies what comes out of `from` into `to`, so many bytes at a time.
local function forward(from, to, n)
  neap.create_task(function()
    while true do
      local data = from:read_some(n)
      if not data or to:is_closed() or not to:write(data) or to:is_closed() then break end
      to:flush()
    end
    if not to:is_closed() then to:shutdown() end
  end)
end

--- The ends of a connection through somebody who passes on so many bytes at a time.
local function through(n)
  local a, x = secure.plain()
  local y, b = secure.plain()
  forward(x, y, n)
  forward(y, x, n)
  return a, b
end

describe("TLS", function()
  lazy_setup(certs.folder)
  after_each(secure.clean)

  it("encrypts what goes both ways, in the main chunk and in tasks", function()
    local function talk()
      local a, b = secure.pair()
      a:write "question\n"
      b:write("answer\n")
      assert.equal("answer", a:read())
      assert.equal("question", b:read())
      assert.truthy(tostring(a):find("^<Stream tls "))
    end
    talk()
    in_task(talk)
  end)

  it("closes the stream also where it is cancelled while certificates are read", function()
    local a = secure.plain()
    local task = neap.create_task(a.start_tls, a, { cafile = certs.folder() .. "/none.pem" })
    neap.sleep(0) -- a thread of the pool has it
    assert.is_true(task:cancel())
    local ok, err = pcall(task.await, task)
    assert.is_false(ok)
    assert.is_true(neap.CancelledError:is(err))
    assert.is_true(a:is_closed())
    -- What is wrong leaves it as it was.
    local b = secure.plain()
    assert.matches("helper.lua:%d+: bad option 'server_name'", catch(b.start_tls, b))
    assert.matches("unknown option 'nonsense'", catch(b.start_tls, b, { nonsense = 1 }))
    assert.is_false(b:is_closed())
  end)

  it("gives the stream itself back", function()
    local a, b = secure.plain()
    local c, s = secure.shake(a, b)
    assert.equal(a, c[1])
    assert.equal(b, s[1])
  end)

  it("does not let a third one read along", function()
    local a, x = secure.plain()
    local y, b = secure.plain()
    local seen = {}
    local function spy(from, to)
      neap.create_task(function()
        for data in function() return from:read_some() end do
          seen[#seen + 1] = data
          to:write(data):flush()
        end
      end)
    end
    spy(x, y)
    spy(y, x)
    secure.shake(a, b)
    a:write "a secret\n"
    assert.equal("a secret", b:read())
    assert.truthy(#seen > 2)
    assert.falsy(table.concat(seen):find("a secret", 1, true))
  end)

  it("knows all formats of reading", function()
    local a, b = secure.pair()
    neap.create_task(function()
      a:write("line\nwith end\n17 0x10rest;exactly")
      a:shutdown()
    end)
    assert.equal("line", b:read())
    assert.equal("with end\n", b:read "L")
    assert.same({ 17, 16 }, { b:read("n", "n") })
    assert.equal("rest;", b:read_until ";")
    assert.equal("exa", b:read_exactly(3))
    assert.equal("ctly", b:read "a")
    assert.is_nil(b:read())
  end)

  it("carries much, both ways at once", function()
    local a, b = secure.pair()
    local tasks = {}
    for i, stream in ipairs { a, b } do
      tasks[i] = neap.create_task(function()
        assert(stream:write(MUCH))
        assert(stream:shutdown())
      end)
    end
    local both = neap.gather { function() return b:read "a" end, function() return a:read "a" end }
    assert.truthy(both[1] == MUCH and both[2] == MUCH)
    neap.gather(tasks)
  end)

  it("carries large pieces without a mark to write up to", function()
    local a, b = secure.pair()
    a:set_write_limits(0)
    local task = start(function() return a:write "small":write(MUCH):shutdown() end)
    local _ <close> = neap.timeout(10)
    assert.is_true(b:read_exactly(5 + #MUCH) == "small" .. MUCH)
    task:await()
  end)

  it("carries pieces of any size", function()
    local a, b = secure.pair()
    local sizes = { 0, 1, 16383, 16384, 16385, 65535, 65536, 65537, 200000 }
    neap.create_task(function()
      for _, n in ipairs(sizes) do a:write(MUCH:sub(1, n), "\n") end
    end)
    for _, n in ipairs(sizes) do assert.truthy(b:read() == MUCH:sub(1, n)) end
  end)

  for _, n in ipairs { 1, 7, 1000 } do
    it(("does not mind where the pieces end (%d)"):format(n), function()
      local a, b = through(n)
      local c, s = secure.shake(a, b)
      assert(c[1], c[2])
      assert(s[1], s[2])
      local size = n * 300
      neap.create_task(function() a:write(MUCH:sub(1, size)):shutdown() end)
      assert.truthy(b:read "a" == MUCH:sub(1, size))
      b:write "done"
      b:close()
      assert.equal("done", a:read "a")
    end)
  end

  it("is piped to and from", function()
    local a, b = secure.pair()
    local c, d = secure.pair()
    neap.create_task(function() a:write(MUCH):shutdown() end)
    local copied = neap.create_task(function()
      local n = b:pipe(c)
      c:shutdown()
      return n
    end)
    assert.truthy(d:read "a" == MUCH)
    assert.equal(#MUCH, copied:await())
  end)

  it("begins in the middle of a connection", function()
    local a, b = secure.plain()
    local server = neap.create_task(function()
      assert.equal("STARTTLS", b:read())
      neap.sleep(0.002) -- the first message of the handshake is there before the start
      b:write "go\n" -- is sent before it
      return b:start_tls { server = true, context = secure.server() }
    end)
    a:write "STARTTLS\n"
    local client = neap.create_task(function()
      return a:start_tls { context = secure.client(), server_name = "localhost" }
    end)
    -- "go" is not TLS: what the client has not read yet belongs to the handshake
    local ok, err = client:await()
    assert.is_nil(ok)
    assert.equal("WRONG_VERSION_NUMBER", err.code)
    assert.is_nil((server:await()))
  end)

  it("takes what was read ahead as part of the handshake", function()
    local a, b = secure.plain()
    a:write "STARTTLS\n"
    local client = start(a.start_tls, a, { context = secure.client(), server_name = "localhost" })
    neap.sleep(0.002)
    assert.equal("STARTTLS", b:read())
    assert(b:start_tls { server = true, context = secure.server() })
    assert(client:await())
    b:write "yes\n"
    assert.equal("yes", a:read())
  end)

  it("changes its keys", function()
    local a, b = secure.pair()
    for i = 1, 10 do
      assert.is_true(update_keys(i % 3 == 0 and b or a))
      a:write("to ", i, "\n")
      assert.equal("to " .. i, b:read())
      b:write("fro ", i, "\n")
      assert.equal("fro " .. i, a:read())
    end
  end)

  it("does not let a peer ask for keys without end", function()
    local a, x = secure.plain()
    local y, b = secure.plain()
    forward(x, y, 1 << 16)
    local back = neap.create_task(function()
      for data in function() return y:read_some() end do x:write(data):flush() end
    end)
    secure.shake(a, b)
    back:cancel()
    local ended = neap.create_task(b.read, b)
    local most = 0
    for _ = 1, 40000 do
      update_keys(a)
      if a:pending() > 8000 then a:flush() end
      most = math.max(most, b:pending())
      if ended:done() then break end
    end
    local data, err = ended:await()
    assert.is_nil(data)
    assert.equal("ESSLFLOOD", err.code)
    assert.truthy(most < 1 << 18, most)
  end)

  it("half-closes: close_notify ends one direction", function()
    local a, b = secure.pair()
    a:write "last\n"
    a:shutdown()
    assert.equal("last", b:read())
    assert.is_nil(b:read())
    assert.same({ n = 1 }, table.pack(b:read()))
    b:write "still\n"
    assert.equal("still", a:read())
    assert.truthy(catch(a.write, a, "x"):find "after shutdown")
  end)

  it("says goodbye when it is closed", function()
    local a, b = secure.pair()
    a:write "bye"
    a:close()
    assert.equal("bye", b:read "a")
    assert.same({ n = 1 }, table.pack(b:read()))
  end)

  it("tells an end without goodbye, after the data", function()
    local a, b = through(1000)
    secure.shake(a, b)
    b:write "go\n" -- nothing else is on its way to the one who goes
    assert.equal("go", a:read())
    a:write("half"):flush()
    neap.sleep(0.002)
    a:abort()
    assert.equal("half", b:read_some())
    local data, err = b:read()
    assert.is_nil(data)
    assert.equal("ESSLEOF", err.code)
    assert.equal("read", err.op)
    assert.truthy(err.message:find "data may be missing")
    assert.truthy(neap.OSError:is(err))
    assert.equal("ESSLEOF", select(2, b:read "a").code)
  end)
end)

describe("start_tls", function()
  after_each(secure.clean)

  it("agrees on a protocol", function()
    local a, b = secure.pair(certs.trust { alpn = { "h2", "http/1.1" } },
      certs.identity("server", { alpn = { "http/1.1", "h2" } }))
    assert.equal("http/1.1", a:alpn()) -- the server's choice
    assert.equal("http/1.1", b:alpn())
    a, b = secure.pair(certs.trust { alpn = { "h2" } })
    assert.is_nil(a:alpn())
    assert.is_nil(b:alpn())
  end)

  it("fails where there is no protocol that both know", function()
    local a, b = secure.plain()
    local c, s = secure.shake(a, b, certs.trust { alpn = { "x" } },
      certs.identity("server", { alpn = { "y" } }))
    assert.is_nil(c[1])
    assert.equal("ALERT_NO_APPLICATION_PROTOCOL", c[2].code)
    assert.equal("start_tls: peer sent alert: no application protocol", c[2].message)
    assert.is_nil(s[1])
    assert.equal("NO_APPLICATION_PROTOCOL", s[2].code)
    assert.truthy(a:is_closed() and b:is_closed())
  end)

  it("sends the name, but not an address", function()
    local _, b = secure.pair()
    assert.equal("localhost", b:tls_info().server_name)
    _, b = secure.pair(nil, nil, "127.0.0.1")
    assert.is_nil(b:tls_info().server_name)
    _, b = secure.pair(nil, nil, "localhost.")
    assert.equal("localhost", b:tls_info().server_name)
  end)

  it("agrees on a version that both allow", function()
    local a = secure.pair(certs.trust { max_version = "TLSv1.2" })
    assert.equal("TLSv1.2", a:tls_info().version)
    a = secure.pair()
    assert.equal("TLSv1.3", a:tls_info().version)
    local x, y = secure.plain()
    local c, s = secure.shake(x, y, certs.trust { max_version = "TLSv1.2" },
      certs.identity("server", { min_version = "TLSv1.3" }))
    assert.equal("ALERT_PROTOCOL_VERSION", c[2].code)
    assert.equal("UNSUPPORTED_PROTOCOL", s[2].code)
  end)

  it("agrees on a cipher that both allow", function()
    local a = secure.pair(certs.trust {
      max_version = "TLSv1.2", ciphers = "ECDHE-ECDSA-CHACHA20-POLY1305" })
    assert.equal("ECDHE-ECDSA-CHACHA20-POLY1305", a:tls_info().cipher)
    a = secure.pair(certs.trust { ciphersuites = "TLS_CHACHA20_POLY1305_SHA256" })
    assert.equal("TLS_CHACHA20_POLY1305_SHA256", a:tls_info().cipher)
  end)

  for _, version in ipairs { "TLSv1.2", "TLSv1.3" } do
    it("resumes sessions of " .. version, function()
      local client = assert(net.tls_context(certs.trust { max_version = version }))
      local function connect(name)
        local a, b = secure.pair(client, nil, name)
        b:write "x"
        a:read(1) -- tickets of TLS 1.3 come with the first data
        local resumed = a:tls_info().resumed
        assert.equal(resumed, b:tls_info().resumed)
        assert.equal(version, a:tls_info().version)
        assert.equal("CN=localhost,O=neap", a:tls_info().peer_certificate.subject)
        a:close()
        b:close()
        return resumed
      end
      assert.is_false(connect())
      for _ = 1, 3 do assert.is_true(connect()) end
      assert.is_false(connect "127.0.0.1") -- the session is for another name
      assert.is_true(connect "127.0.0.1")
    end)
  end

  it("tells of the peer", function()
    local a, b = secure.pair()
    local info = a:tls_info()
    local cert = info.peer_certificate
    assert.is_false(info.server)
    assert.equal("CN=localhost,O=neap", cert.subject)
    assert.equal("CN=neap test CA,O=neap", cert.issuer)
    assert.same({ "DNS:localhost", "DNS:*.wild.example", "IP:127.0.0.1", "IP:::1" }, cert.names)
    assert.equal("1234", cert.serial)
    assert.equal(certs.text "server.pem", cert.pem)
    assert.equal(64, #cert.fingerprint)
    assert.truthy(cert.not_before <= os.time() and cert.not_after > os.time())
    assert.is_true(b:tls_info().server)
    assert.is_nil(b:tls_info().peer_certificate)
  end)

  it("has nothing to tell without TLS", function()
    local a = secure.plain()
    assert.is_nil(a:tls_info())
    assert.is_nil(a:alpn())
    a:close()
    assert.truthy(catch(a.tls_info, a):find "closed stream")
  end)

  it("happens once, with nothing else under way", function()
    local opts = { context = secure.client(), server_name = "localhost" }
    local a = secure.pair()
    assert.truthy(catch(a.start_tls, a, opts):find "encrypted already")
    assert.matches("^[^:]*tls_spec.lua:%d+: ", catch(function()
      local _ = a:start_tls(opts)
    end))
    local b
    a, b = secure.plain()
    local reader = start(a.read, a)
    assert.truthy(catch(a.start_tls, a, opts):find "another task is reading")
    reader:cancel()
    neap.sleep(0)
    local shaking = start(a.start_tls, a, opts)
    assert.truthy(catch(a.read, a):find "another task is reading")
    assert.truthy(catch(a.write, a, "x"):find "not open for writing")
    assert.truthy(catch(a.start_tls, a, opts):find "encrypted already")
    assert(b:start_tls { server = true, context = secure.server() })
    assert.equal(a, shaking:await())
    a, b = secure.plain()
    local copying = start(b.pipe, b, b)
    assert.truthy(catch(b.start_tls, b, opts):find "another task is reading")
    copying:cancel()
    a:shutdown()
    assert.truthy(catch(a.start_tls, a, opts):find "after shutdown")
    a:close()
    assert.truthy(catch(a.start_tls, a, opts):find "closed stream")
  end)

  it("says what is wrong with its options", function()
    local a = secure.plain()
    local function message(opts) return catch(a.start_tls, a, opts) end
    assert.truthy(message { what = 1 }:find("unknown option 'what' to 'Stream:start_tls'", 1, true))
    assert.truthy(message { alpn = "h2" }:find "bad option 'alpn'")
    assert.truthy(message { server = 1 }:find "bad option 'server'")
    assert.truthy(message { server_name = "" }:find "bad option 'server_name'")
    assert.truthy(message { server_name = "a\0b" }:find "bad option 'server_name'")
    assert.truthy(message { server = true }:find "needs 'cert' and 'key'")
    assert.truthy(message { server = true, context = secure.client() }:find "needs 'cert'")
    assert.truthy(message { context = 1 }:find "bad option 'context'")
    assert.truthy(message { context = secure.client(), alpn = {} }:find "the context says that")
    assert.truthy(message(5):find "true, a table or a context expected, got number")
    assert.truthy(message(secure.client()):find "bad option 'server_name'")
    assert.is_false(a:is_closed())
    local ok, err = a:start_tls { cafile = "/nowhere" }
    assert.is_nil(ok)
    assert.equal("ENOENT", err.code)
    assert.is_true(a:is_closed())
  end)

  it("says when the peer does not speak TLS", function()
    local a, b = secure.plain()
    a:write "GET / HTTP/1.0\r\n\r\n"
    local ok, err = b:start_tls { server = true, context = secure.server() }
    assert.is_nil(ok)
    assert.equal("HTTP_REQUEST", err.code)
    assert.equal("start_tls: the peer sent a plain HTTP request (http request)", err.message)
    a, b = secure.plain()
    b:write "220 welcome\r\n"
    ok, err = a:start_tls { context = secure.client(), server_name = "localhost" }
    assert.is_nil(ok)
    assert.equal("WRONG_VERSION_NUMBER", err.code)
    assert.truthy(err.message:find "does not speak TLS")
  end)

  it("survives any garbage", function()
    math.randomseed(4711)
    local function garbage(n)
      local out = {}
      for i = 1, n do out[i] = string.char(math.random(0, 255)) end
      return table.concat(out)
    end
    local heads = { "", "\22\3\1\2\0\1\0", "\22\3\3\64\0", "\23\3\3\0\0", "\21\3\3\0\2",
      "\20\3\3\0\1\1", "\22\3\1\0\4\1\255\255\255" }
    for i = 1, helper.many(200) do
      local a, b = secure.plain()
      a:write(heads[i % #heads + 1], garbage(i * 3))
      a:shutdown()
      local ok, err
      if i % 2 == 0 then
        ok, err = b:start_tls { server = true, context = secure.server() }
      else
        ok, err = b:start_tls { context = secure.client(), server_name = "localhost" }
      end
      assert.is_nil(ok)
      assert.truthy(neap.OSError:is(err) and err.code and err.message)
      a:abort()
    end
  end)

  it("survives garbage later on", function()
    for cut = 0, 4 do
      local a, x = secure.plain()
      local y, b = secure.plain()
      forward(y, x)
      local forwarding = neap.create_task(function()
        for data in function() return x:read_some() end do y:write(data):flush() end
      end)
      secure.shake(a, b)
      b:write "go\n"
      a:read()
      forwarding:cancel()
      neap.sleep(0)
      y:write(("\23\3\3\0\20"):sub(1, cut) .. ("garbage"):rep(100)):flush()
      local data, err = b:read()
      assert.is_nil(data)
      assert.truthy(neap.OSError:is(err))
      local ok, again = b:write "x"
      assert.is_nil(ok)
      assert.truthy(neap.OSError:is(again))
    end
  end)

  it("says when the peer goes away", function()
    local a, b = secure.plain()
    local client = start(a.start_tls, a, { context = secure.client(), server_name = "localhost" })
    b:read_some()
    b:close()
    local ok, err = client:await()
    assert.is_nil(ok)
    assert.equal("ESSLEOF", err.code)
    assert.truthy(err.message:find "in the handshake")
    a, b = secure.plain()
    b:close()
    neap.sleep(0.001)
    ok, err = a:start_tls { context = secure.client(), server_name = "localhost" }
    assert.is_nil(ok)
    assert.truthy(err.code == "ESSLEOF" or err.code == "EPIPE", tostring(err))
  end)

  it("ends with a time-out where the peer is silent, and the stream is closed", function()
    local a, b = secure.plain()
    local err = catch(function()
      local _t <close> = neap.timeout(0.005)
      a:start_tls { context = secure.client(), server_name = "localhost" }
    end)
    assert.truthy(neap.TimeoutError:is(err))
    assert.is_true(a:is_closed())
    assert.truthy(b:read_some())
    assert.is_nil((b:read_some()))
  end)

  it("ends when its stream is closed", function()
    local a = secure.plain()
    local shaking = start(a.start_tls, a, { context = secure.client(), server_name = "localhost" })
    a:close()
    local ok, err = shaking:await()
    assert.is_nil(ok)
    assert.equal("EBADF", err.code)
  end)

  it("survives a cancel sweep", function()
    local waits = test.cancel_sweep(function()
      local a, b = secure.plain()
      local _a <close> = a
      local _b <close> = b
      local group <close> = neap.TaskGroup()
      group:create_task(function()
        if not b:start_tls { server = true, context = secure.server() } then return end
        b:write "hello\n"
        b:read()
        b:close()
      end)
      assert(a:start_tls(certs.trust { server_name = "localhost" }))
      assert.equal("hello", a:read())
      a:write(MUCH:sub(1, 100))
      a:shutdown()
      assert.is_nil((a:read()))
    end)
    assert.truthy(waits >= 4)
  end)

  it("does not read more than is asked for, nor write more than is taken", function()
    local a, b = secure.pair()
    local writer = start(a.write, a, MUCH:rep(8))
    neap.sleep(0.005)
    assert.is_false(writer:done())
    assert.truthy(a:pending() > 7 << 20) -- it waits as it is, not encrypted
    local before = collectgarbage "count"
    neap.sleep(0.005)
    assert.truthy(collectgarbage "count" - before < 100)
    assert.equal(MUCH, b:read(#MUCH))
    writer:cancel()
  end)
end)
