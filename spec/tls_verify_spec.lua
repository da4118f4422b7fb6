--- Whom TLS trusts, and what it says of the others.

local neap = require "neap"
local net = require "neap.net"
local certs = require "spec.support.certs"
local secure = require "spec.support.secure"

--- What a client says of a server that has this certificate.
local function of_server(identity, opts, name)
  local a, b = secure.plain()
  return secure.shake(a, b, certs.trust(opts), certs.identity(identity), name)
end

--- Its client refuses the server: the code, and what both say.
local function refused(code, text, alert, ...)
  local c, s = of_server(...)
  assert.is_nil(c[1])
  assert.equal(code, c[2].code)
  assert.equal("start_tls: " .. text, c[2].message)
  assert.equal("start_tls", c[2].op)
  assert.truthy(neap.OSError:is(c[2]))
  assert.is_nil(s[1])
  assert.equal("start_tls: peer sent alert: " .. alert, s[2].message)
end

local function accepted(...)
  local c, s = of_server(...)
  assert(c[1], c[2])
  assert(s[1], s[2])
  return c[1], s[1]
end

describe("a client of TLS", function()
  lazy_setup(certs.folder)
  after_each(secure.clean)

  it("refuses a certificate that has expired", function()
    refused("CERT_HAS_EXPIRED", "certificate has expired", "certificate expired", "expired")
  end)

  it("refuses one that is for another name", function()
    refused("HOSTNAME_MISMATCH", "host name mismatch (the certificate is for another name)",
      "bad certificate", "other")
    refused("HOSTNAME_MISMATCH", "host name mismatch (the certificate is for another name)",
      "bad certificate", "server", nil, "a.b.wild.example")
    refused("IP_ADDRESS_MISMATCH",
      "address mismatch (the certificate is not for this address)", "bad certificate", "server",
      nil, "127.0.0.2")
    -- The common name does not count where there are other names.
    refused("HOSTNAME_MISMATCH", "host name mismatch (the certificate is for another name)",
      "bad certificate", "server", nil, "neap test CA")
  end)

  it("refuses one that nobody signed", function()
    refused("DEPTH_ZERO_SELF_SIGNED_CERT", "self-signed certificate", "unknown CA", "self")
  end)

  it("refuses one that somebody unknown signed", function()
    refused("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "unable to get local issuer certificate",
      "unknown CA", "server", { cafile = certs.path "stranger.pem" })
    refused("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", "unable to get local issuer certificate",
      "unknown CA", "leaf")
  end)

  it("refuses what is not for servers", function()
    refused("INVALID_PURPOSE", "unsuitable certificate purpose", "unsupported certificate",
      "client")
  end)

  it("does so without being told what to trust", function()
    local a, b = secure.plain()
    local c = secure.shake(a, b, {})
    assert.is_nil(c[1])
    assert.equal("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", c[2].code)
  end)

  it("accepts the names of a certificate", function()
    for _, name in ipairs { "localhost", "LOCALHOST", "localhost.", "127.0.0.1", "::1",
      "a.wild.example" } do
      accepted("server", nil, name)
    end
  end)

  it("accepts a chain, and one certificate that it was told", function()
    accepted "chain"
    accepted("self", { cafile = certs.path "self.pem" })
    accepted("leaf", { cafile = certs.path "leaf.pem" })
    accepted("leaf", { cafile = certs.path "middle.pem" })
  end)

  it("looks at less where it is told so", function()
    accepted("other", { check_hostname = false })
    accepted("expired", { verify = false })
    accepted("self", { verify = false }, "what.ever")
    local c = of_server("self", { check_hostname = false })
    assert.equal("DEPTH_ZERO_SELF_SIGNED_CERT", c[2].code)
  end)

  it("needs a name to look for", function()
    local a = secure.plain()
    local ok, err = pcall(a.start_tls, a, certs.trust())
    assert.is_false(ok)
    assert.truthy(err:find "bad option 'server_name'")
    ok, err = pcall(a.start_tls, a, certs.trust { server_name = ("x"):rep(256) })
    assert.is_false(ok)
    assert.truthy(err:find "bad option 'server_name'")
  end)

  it("does not resume what it would not have accepted", function()
    local lax = assert(net.tls_context(certs.trust { verify = false }))
    local a, b = secure.pair(lax, certs.identity "other")
    b:write "x"
    a:read(1)
    refused("HOSTNAME_MISMATCH", "host name mismatch (the certificate is for another name)",
      "bad certificate", "other")
  end)
end)

describe("a server of TLS", function()
  after_each(secure.clean)

  --- Both handshakes, and what the server can read from the client then.
  local function with_client(identity, verify, more)
    local a, b = secure.plain()
    local opts = certs.trust { server_name = "localhost" }
    if identity then
      for key, value in pairs(certs.identity(identity)) do opts[key] = value end
    end
    local server = certs.identity("server", { cafile = certs.path "ca.pem", verify = verify })
    for key, value in pairs(more or {}) do server[key] = value end
    local c, s = secure.shake(a, b, opts, server)
    return c, s, a, b
  end

  it("does not ask for certificates by itself", function()
    local c, s, _, b = with_client("client", nil)
    assert(c[1] and s[1])
    assert.is_nil(b:tls_info().peer_certificate)
  end)

  for _, verify in ipairs { true, "required", "optional" } do
    it(("accepts a client's certificate (verify = %s)"):format(verify), function()
      local c, s, _, b = with_client("client", verify)
      assert(c[1], c[2])
      assert(s[1], s[2])
      assert.equal("CN=a client,O=neap", b:tls_info().peer_certificate.subject)
    end)

    it(("refuses a stranger's certificate (verify = %s)"):format(verify), function()
      local _, s, a = with_client("foreign", verify)
      assert.is_nil(s[1])
      assert.equal("UNABLE_TO_GET_ISSUER_CERT_LOCALLY", s[2].code)
      -- In TLS 1.3 the client is through before the server looks.
      local data, err = a:read()
      assert.is_nil(data)
      assert.equal("ALERT_UNKNOWN_CA", err.code)
      assert.equal("read: peer sent alert: unknown CA", err.message)
    end)
  end

  it("refuses a client without one, where it is required", function()
    local _, s, a = with_client(nil, true)
    assert.is_nil(s[1])
    assert.equal("PEER_DID_NOT_RETURN_A_CERTIFICATE", s[2].code)
    assert.truthy(s[2].message:find "the peer has shown no certificate")
    local _, err = a:read()
    assert.equal("ALERT_CERTIFICATE_REQUIRED", err.code)
    local c
    c, s = with_client(nil, true, { max_version = "TLSv1.2" })
    assert.is_nil(c[1])
    assert.is_nil(s[1])
    assert.equal("ALERT_HANDSHAKE_FAILURE", c[2].code)
  end)

  it("accepts a client without one, where it is optional", function()
    local c, s, _, b = with_client(nil, "optional")
    assert(c[1], c[2])
    assert(s[1], s[2])
    assert.is_nil(b:tls_info().peer_certificate)
  end)

  it("knows the client again when a session is resumed", function()
    local client = certs.trust { server_name = "localhost" }
    for key, value in pairs(certs.identity "client") do client[key] = value end
    client = assert(net.tls_context(client))
    local server = assert(net.tls_context(certs.identity("server",
      { cafile = certs.path "ca.pem", verify = true })))
    for i = 1, 3 do
      local a, b = secure.pair(client, server)
      b:write "x"
      a:read(1)
      assert.equal(i > 1, b:tls_info().resumed)
      assert.equal("CN=a client,O=neap", b:tls_info().peer_certificate.subject)
    end
  end)
end)
