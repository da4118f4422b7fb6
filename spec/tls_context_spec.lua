--- net.tls_context: what it loads, and what it says when it cannot.

local neap = require "neap"
local net = require "neap.net"
local test = require "neap.test"
local helper = require "spec.helper"
local certs = require "spec.support.certs"
local secure = require "spec.support.secure"

local catch, in_task = helper.catch, helper.in_task

--- The error of tls_context.
local function refused(opts)
  local context, err = net.tls_context(opts)
  assert.is_nil(context)
  assert.truthy(neap.OSError:is(err))
  assert.equal("tls_context", err.op)
  return err
end

describe("tls_context", function()
  lazy_setup(certs.folder)
  after_each(secure.clean)

  it("waits, in the main chunk and in tasks", function()
    assert.equal("<tls context>", tostring(net.tls_context()))
    assert.equal("<tls context>", tostring(in_task(net.tls_context, {})))
    assert.equal("<tls context>", tostring(net.tls_context(certs.trust())))
  end)

  it("is of no loop", function()
    local client, server
    neap.run(function()
      client = assert(net.tls_context(certs.trust()))
      server = assert(net.tls_context(certs.identity "server"))
    end)
    neap.run(function() secure.pair(client, server) end)
    secure.pair(client, server)
  end)

  it("takes text in place of files", function()
    local a = secure.pair({ cafile = certs.text "ca.pem" },
      { cert = certs.text "server.pem", key = certs.text "server.key" })
    a:write "x"
    a:close()
    secure.pair({ cafile = certs.text "stranger.pem" .. certs.text "ca.pem" },
      { cert = certs.text "server.pem" .. certs.text "server.key" })
  end)

  it("takes a folder", function()
    os.execute(("mkdir -p %s; cp %s %s; openssl rehash %s"):format(certs.path "hashed",
      certs.path "ca.pem", certs.path "hashed", certs.path "hashed"))
    secure.pair { cadir = certs.path "hashed" }
  end)

  it("takes the place of the system's from the environment, as OpenSSL does", function()
    local script = certs.path "env.lua"
    local file = assert(io.open(script, "w"))
    file:write([[
      local neap, net = require "neap", require "neap.net"
      local a, b = net.pair()
      neap.create_task(function()
        print(b:start_tls { server = true, cert = arg[1], key = arg[2] })
      end)
      print(a:start_tls { server_name = "localhost" })
      neap.sleep(0.001)
    ]])
    file:close()
    local output = io.popen(("SSL_CERT_FILE=%s %s %s %s %s 2>&1"):format(certs.path "ca.pem",
      helper.host, script, certs.path "server.pem", certs.path "server.key")):read "a"
    assert.equal(2, select(2, output:gsub("<Stream tls", "")), output)
    output = io.popen(("SSL_CERT_FILE=%s %s %s %s %s 2>&1"):format(certs.path "stranger.pem",
      helper.host, script, certs.path "server.pem", certs.path "server.key")):read "a"
    assert.truthy(output:find("unable to get local issuer certificate", 1, true), output)
    assert.truthy(output:find("peer sent alert: unknown CA", 1, true), output)
  end)

  it("says when OpenSSL is not there, and only then", function()
    local folder = certs.path "broken"
    os.execute(("mkdir -p %s; echo no library >%s/libssl.so.3"):format(folder, folder))
    local output = io.popen(([[LD_LIBRARY_PATH=%s %s -e '
      local net = require "neap.net"
      net.pair()
      local context, err = net.tls_context()
      print(context, err.code, err.message)
      print(select(2, net.connect("127.0.0.1", 1, { tls = true })).code)' 2>&1]])
      :format(folder, helper.host)):read "a"
    assert.truthy(output:find("nil\tENOSSL\ttls_context: OpenSSL 3 cannot be loaded", 1, true),
      output)
    assert.truthy(output:find("ECONNREFUSED", 1, true), output)
  end)

  it("opens a key with its password, and never asks", function()
    local opts = { cert = certs.path "locked.pem", key = certs.path "locked.key" }
    local err = refused(opts)
    assert.equal("BAD_PASSWORD_READ", err.code)
    assert.truthy(err.message:find "no password was given")
    opts.password = "wrong"
    err = refused(opts)
    assert.truthy(err.message:find "^tls_context: key: ", err.message)
    opts.password = "secret"
    secure.pair(nil, opts)
  end)

  it("says which file cannot be read", function()
    for _, name in ipairs { "cafile", "cert", "key" } do
      local opts = certs.identity "server"
      opts[name] = "/nowhere/x.pem"
      local err = refused(opts)
      assert.equal("ENOENT", err.code)
      assert.equal(("tls_context: %s: no such file or directory (/nowhere/x.pem)"):format(name),
        err.message)
    end
    assert.equal("EISDIR", refused { cafile = "/" }.code)
  end)

  it("says what is wrong with what it read", function()
    local empty = certs.path "empty.pem"
    assert(io.open(empty, "w")):close()
    local err = refused { cafile = empty }
    assert.equal("NO_START_LINE", err.code)
    assert.truthy(err.message:find("cafile: no start line", 1, true))
    assert.equal("NO_START_LINE", refused { cert = empty }.code)
    assert.truthy(refused { cert = certs.path "server.pem" }.message:find "^tls_context: cert: ")
    err = refused { cert = certs.path "server.pem", key = certs.path "client.key" }
    assert.equal("KEY_VALUES_MISMATCH", err.code)
    err = refused { cafile = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n" }
    assert.truthy(err.message:find("given as text", 1, true))
    assert.falsy(err.message:find("AAAA", 1, true))
    err = refused { ciphers = "NONSENSE" }
    assert.equal("NO_CIPHER_MATCH", err.code)
    assert.truthy(refused { ciphersuites = "NONSENSE" }.message:find "ciphersuites: ")
  end)

  it("says what is wrong with its options", function()
    local function message(opts)
      return catch(function()
        local context = net.tls_context(opts)
        return context
      end)
    end
    for _, case in ipairs {
      { { cafil = "x" }, "unknown option 'cafil' to 'neap.net.tls_context'" },
      { { 1 }, "unknown option '1'" },
      { { cafile = 1 }, "bad option 'cafile'" },
      { { cadir = 1 }, "to 'neap.net.tls_context' (string expected, got number)" },
      { { cafile = "a\0b" }, "bad option 'cafile'" },
      { { verify = "yes" }, "(boolean, 'optional' or 'required' expected, got 'yes')" },
      { { check_hostname = 1 }, "bad option 'check_hostname'" },
      { { alpn = {} }, "bad option 'alpn'" },
      { { alpn = { "" } }, "bad option 'alpn'" },
      { { alpn = { ("x"):rep(256) } }, "bad option 'alpn'" },
      { { min_version = "SSLv3" }, "('TLSv1.2' or 'TLSv1.3' expected, got 'SSLv3')" },
      { { min_version = "TLSv1.3", max_version = "TLSv1.2" }, "at least min_version" },
      { { key = "x" }, "bad option 'cert'" },
      { { server = true }, "unknown option 'server'" },
    } do
      local err = message(case[1])
      assert.truthy(err:find(case[2], 1, true), err)
      assert.truthy(err:find("tls_context_spec", 1, true), err)
    end
    assert.truthy(message(5):find "table expected, got number")
  end)

  it("can be closed, while connections go on", function()
    local client = assert(net.tls_context(certs.trust()))
    local a, b = secure.pair(client)
    do local _client <close> = client end
    client:close()
    assert.equal("<tls context closed>", tostring(client))
    a:write "x\n"
    assert.equal("x", b:read())
    local c = secure.plain()
    local err = catch(c.start_tls, c, { context = client, server_name = "localhost" })
    assert.truthy(err:find("needs a context that is not closed", 1, true))
  end)

  it("is let go of when nobody has it", function()
    local weak = setmetatable({}, { __mode = "k" })
    for _ = 1, 10 do weak[assert(net.tls_context(certs.identity "server"))] = true end
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
  end)

  it("is loaded once for clients that say nothing", function()
    local tls = net.tls
    local tasks = {}
    for i = 1, 10 do tasks[i] = neap.create_task(tls.context, true) end
    tasks[1]:cancel()
    local first = tasks[2]:await()
    for i = 3, 10 do assert.equal(first, tasks[i]:await()) end
    assert.equal(first, tls.context {})
    assert.not_equal(first, tls.context { alpn = { "x" } })
    assert.truthy(tasks[1]:cancelled())
  end)

  it("survives a cancel sweep", function()
    local waits = test.cancel_sweep(function()
      assert(net.tls_context(certs.identity "server"))
      local context, err = net.tls_context { cafile = "/nowhere" }
      assert.is_nil(context)
      assert.equal("ENOENT", err.code)
    end)
    assert.equal(2, waits)
  end)

  it("survives that its loop ends", function()
    for _ = 1, 5 do
      neap.run(function()
        neap.create_task(net.tls_context, certs.identity "server")
        neap.sleep(0)
      end)
    end
  end)
end)
