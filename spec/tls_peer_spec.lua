--- TLS with other programs: openssl s_client and s_server, curl; and through net.connect
--- and net.serve.

local neap = require "neap"
local net = require "neap.net"
local process = require "neap.process"
local test = require "neap.test"
local helper = require "spec.helper"
local certs = require "spec.support.certs"
local ports = require "spec.support.port"
local proxy = require "spec.support.proxy"

local MUCH = ("0123456789abcdef"):rep(helper.many(1 << 16)) -- 1 MB

--- A server for the test: fn(server, port).
local function serving(handler, opts, fn, port)
  local tls = certs.identity("server", opts)
  local server <close> = assert(net.serve(handler, { tls = tls, port = port }))
  return fn(server, select(2, server:address()))
end

local function echo(stream)
  for data in function() return stream:read_some() end do stream:write(data) end
end

--- openssl s_client, connected.
local function s_client(port, ...)
  local command = { "openssl", "s_client", "-connect", "127.0.0.1:" .. port, "-CAfile",
    certs.path "ca.pem", "-verify_return_error", stdin = "pipe", stdout = "pipe",
    stderr = "pipe" }
  for _, arg in ipairs { ... } do command[#command + 1] = arg end
  return assert(process.spawn(command))
end

--- openssl s_server, and a port where it listens: fn(port, process).
local function with_s_server(args, fn)
  local command = { "openssl", "s_server", "-accept", "0", "-cert", certs.path "server.pem",
    "-key", certs.path "server.key", stdin = "pipe", stdout = "pipe", stderr = "null" }
  for _, arg in ipairs(args) do command[#command + 1] = arg end
  local server <close> = assert(process.spawn(command))
  local port
  for line in server.stdout:lines() do
    port = line:match "^ACCEPT .*:(%d+)$"
    if port then break end
  end
  return fn(math.tointeger(port), server)
end

local function connect(port, opts)
  return net.connect("127.0.0.1", port, { tls = certs.trust(opts), timeout = 10 })
end

describe("TLS of a server", function()
  lazy_setup(certs.folder)

  for _, version in ipairs { "-tls1_2", "-tls1_3" } do
    it("talks to openssl s_client " .. version, function()
      serving(echo, nil, function(_, port)
        local client <close> = s_client(port, "-quiet", version)
        client.stdin:write "hello\n"
        assert.equal("hello", client.stdout:read())
        client.stdin:write(MUCH, "\n")
        assert.truthy(client.stdout:read(#MUCH) == MUCH)
      end)
    end)
  end

  it("gives openssl s_client what it asks for", function()
    serving(function(stream)
      stream:write(stream:alpn(), " ", stream:tls_info().server_name, " ",
        stream:tls_info().peer_certificate.subject, "\n")
    end, { alpn = { "b", "a" }, verify = true, cafile = certs.path "ca.pem" }, function(_, port)
      local client <close> = s_client(port, "-quiet", "-alpn", "a,b", "-servername", "some.name",
        "-cert", certs.path "client.pem", "-key", certs.path "client.key")
      assert.equal("b some.name CN=a client,O=neap", client.stdout:read())
    end)
  end)

  it("lets openssl s_client resume", function()
    serving(echo, nil, function(_, port)
      for _, version in ipairs { "-tls1_2", "-tls1_3" } do
        local session = certs.path("session" .. version)
        for i, option in ipairs { "-sess_out", "-sess_in" } do
          local client <close> = s_client(port, version, option, session, "-ign_eof")
          client.stdin:write "ping\n"
          local resumed
          for line in client.stdout:lines() do
            if line:find "^New, " then resumed = false end
            if line:find "^Reused, " then resumed = true end
            if line == "ping" then break end
          end
          assert.equal(i == 2, resumed, version)
        end
      end
    end)
  end)

  it("changes keys when openssl s_client wants to", function()
    serving(echo, nil, function(_, port)
      local client <close> = s_client(port, "-tls1_3")
      for _, key in ipairs { "k", "K", "K", "k" } do
        client.stdin:write(key, "\n"):flush()
        for line in client.stderr:lines() do
          if line == "KEYUPDATE" then break end
        end
        client.stdin:write("after ", key, "\n")
        for line in client.stdout:lines() do
          if line == "after " .. key then break end
        end
      end
    end)
  end)

  it("refuses to renegotiate", function()
    local ended = neap.Future()
    serving(function(stream)
      ended:set_result(stream:read())
    end, nil, function(_, port)
      local client <close> = s_client(port, "-tls1_2")
      for line in client.stdout:lines() do
        if line:find "Verify return code" then break end
      end
      client.stdin:write("R\n"):flush()
      local data = ended:await()
      assert.is_nil(data)
    end)
  end)

  it("serves curl", function()
    serving(function(stream)
      for line in stream:lines() do
        if line == "\r" then break end
      end
      stream:write(("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n")
        :format(#MUCH), MUCH)
    end, { alpn = { "http/1.1" } }, function(_, port)
      for _, version in ipairs { "1.2", "1.3" } do
        local result = assert(process.run { "env", "-u", "LD_PRELOAD",
          "curl", "-q", "--noproxy", "*", "-sS", "--cacert", certs.path "ca.pem",
          "--tls-max", version, "--resolve", ("localhost:%d:127.0.0.1"):format(port),
          ("https://localhost:%d/"):format(port) })
        assert.equal("", result.stderr)
        assert.equal(0, result.code)
        assert.truthy(result.stdout == MUCH)
      end
      local result = assert(process.run { "env", "-u", "LD_PRELOAD",
        "curl", "-q", "--noproxy", "*", "-sS", ("https://127.0.0.1:%d/"):format(port) })
      assert.equal(60, result.code) -- it does not know our CA
    end)
  end)

  it("goes on after clients that do not speak TLS", function()
    local reported = 0
    local loop = neap.get_event_loop()
    loop:set_exception_handler(function() reported = reported + 1 end)
    serving(echo, nil, function(_, port)
      for _, text in ipairs { "GET / HTTP/1.0\r\n\r\n", "\22\3\1", "", ("\0"):rep(5000) } do
        local plain <close> = assert(net.connect("127.0.0.1", port))
        plain:write(text):shutdown()
        plain:read "a"
      end
      local stream <close> = assert(connect(port))
      stream:write "still here\n"
      assert.equal("still here", stream:read())
    end)
    loop:set_exception_handler(nil)
    assert.equal(0, reported)
  end)
end)

describe("TLS of a client", function()
  lazy_setup(certs.folder)

  for _, version in ipairs { "-tls1_2", "-tls1_3" } do
    it("talks to openssl s_server " .. version, function()
      with_s_server({ version, "-naccept", "1", "-rev" }, function(port)
        local stream <close> = assert(connect(port))
        for _, text in ipairs { "hello", "again" } do
          stream:write(text, "\n")
          assert.equal(text:reverse(), stream:read())
        end
      end)
    end)
  end

  it("resumes with openssl s_server", function()
    with_s_server({ "-rev" }, function(port)
      local context = assert(net.tls_context(certs.trust()))
      for i = 1, 3 do
        local stream <close> = assert(net.connect("127.0.0.1", port, { tls = context }))
        stream:write "ab\n"
        assert.equal("ba", stream:read())
        assert.equal(i > 1, stream:tls_info().resumed)
      end
    end)
  end)

  it("shows openssl s_server its certificate", function()
    with_s_server({ "-rev", "-Verify", "1", "-CAfile", certs.path "ca.pem",
      "-verify_return_error" }, function(port)
      local opts = certs.identity "client"
      do
        local stream <close> = assert(connect(port, opts))
        stream:write "ab\n"
        assert.equal("ba", stream:read())
      end
      local other <close> = assert(connect(port))
      other:write "ab\n"
      local data, err = other:read()
      assert.is_nil(data)
      assert.truthy(err.code:find "^ALERT_" or err.code == "ECONNRESET", tostring(err))
    end)
  end)

  it("is refused by a server that speaks something else", function()
    local server <close> = assert(net.serve(function(stream)
      stream:write "220 welcome\r\n"
      stream:read "a"
    end))
    local _, port = server:address()
    local stream, err = connect(port)
    assert.is_nil(stream)
    assert.equal("WRONG_VERSION_NUMBER", err.code)
  end)

  it("has one time-out for connecting and TLS", function()
    local listener <close> = assert(net.listen()) -- nobody accepts
    local _, port = listener:address()
    local err = helper.catch(net.connect, "127.0.0.1", port,
      { tls = certs.trust(), timeout = 0.01 })
    assert.truthy(neap.TimeoutError:is(err))
  end)

  it("is about the host that was connected to", function()
    serving(echo, nil, function(_, port)
      local stream, err = net.connect("127.0.0.2", port, { tls = certs.trust() })
      if not stream and err.code == "ECONNREFUSED" then -- it listens on 127.0.0.1 only
        stream, err = net.connect("127.0.0.1", port, {
          tls = certs.trust { server_name = "127.0.0.2" } })
      end
      assert.is_nil(stream)
      assert.equal("IP_ADDRESS_MISMATCH", err.code)
      local good <close> = assert(net.connect("127.0.0.1", port, {
        tls = assert(net.tls_context(certs.trust { server_name = "a.wild.example" })) }))
      assert.is_nil(good:alpn())
    end, ports.unused())
  end)

  it("says what is wrong with its options before it connects", function()
    for opts, text in pairs {
      [{ tls = { what = 1 } }] = "unknown option 'what' to 'neap.net.connect'",
      [{ tls = { alpn = 1 } }] = "bad option 'alpn' to 'neap.net.connect'",
    } do
      local err = helper.catch(function()
        local stream = net.connect("127.0.0.1", 1, opts)
        return stream
      end)
      assert.truthy(err:find(text, 1, true), err)
      assert.truthy(err:find("tls_peer_spec", 1, true), err)
    end
    local err = helper.catch(net.serve, print, { tls = { cafile = "x" } })
    assert.truthy(err:find("needs 'cert' and 'key'", 1, true), err)
  end)

  it("gets by with a bad network", function()
    serving(echo, nil, function(_, port)
      local p <close> = proxy.start("127.0.0.1", port, { up = { split = 3 }, down = { split = 5 } })
      local stream <close> = assert(connect(p.port))
      stream:write(("xy"):rep(1000), "\n")
      assert.equal(("xy"):rep(1000), stream:read())
    end)
  end)

  it("notices what a bad network does", function()
    serving(echo, nil, function(_, port)
      for _, faults in ipairs {
        { down = { corrupt = 2500 } }, { down = { close_after = 2500 } },
        { down = { reset_after = 2500 } }, { up = { corrupt = 2500 } },
        { up = { reset_after = 2500 } },
        { down = { corrupt = 50 } }, { down = { close_after = 50 } },
        { up = { corrupt = 50 } }, { up = { close_after = 50 } },
      } do
        local p <close> = proxy.start("127.0.0.1", port, faults)
        local stream, err = connect(p.port)
        if stream then
          local _stream <close> = stream
          local data
          stream:write(("x"):rep(5000))
          data, err = stream:read(5000)
          assert.not_equal(5000, data and #data)
          if data then data, err = stream:read(5000) end
          assert.is_nil(data)
        end
        assert.truthy(neap.OSError:is(err), tostring(err))
      end
    end)
  end)

  it("survives a cancel sweep", function()
    local context = assert(net.tls_context(certs.trust()))
    local server = assert(net.tls_context(certs.identity "server"))
    local waits = test.cancel_sweep(function()
      local s <close> = assert(net.serve(echo, { tls = server }))
      local _, port = s:address()
      local stream <close> = assert(net.connect("127.0.0.1", port, { tls = context }))
      stream:write "x\n"
      assert.equal("x", stream:read())
    end)
    assert.truthy(waits >= 3)
  end)
end)
