--- TLS of neap.net.connect and neap.net.serve: what is theirs of it. The rest: tls_spec.

local neap = require "neap"
local net = require "neap.net"
local test = require "neap.test"
local helper = require "spec.helper"
local certs = require "spec.support.certs"

local catch, start = helper.catch, helper.start

local keep = require "spec.support.kept"(before_each, after_each).keep

local function echo(stream)
  for line in stream:lines "L" do stream:write(line) end
end

local function serve(opts)
  opts = opts or {}
  opts.tls = certs.identity "server"
  return keep(net.serve(echo, opts))
end

local function address(server) return "localhost", select(2, server:address()) end

local function connect(server, more)
  local opts = { tls = certs.trust(), addresses = { "127.0.0.1" } }
  for key, value in pairs(more or {}) do opts[key] = value end
  local host, port = address(server)
  return net.connect(host, port, opts)
end

local function says(stream, word)
  stream:write(word, "\n")
  return stream:read() == word
end

describe("a server with TLS", function()
  lazy_setup(certs.folder)

  it("serves those who trust it, and only them", function()
    local server = serve()
    assert.is_true(says(keep(connect(server)), "hello"))
    local none, err = connect(server, { tls = true })
    assert.is_nil(none)
    assert.matches("certificate", err.message)
    assert.is_true(says(keep(connect(server)), "again"))
    assert.equal(0, #helper.reports.take())
  end)

  it("closes a peer that does not shake hands in time, and others do not wait for it", function()
    local server = serve()
    keep(net.connect(server:address()))
    while server:connections() == 0 do neap.sleep(0.001) end
    assert.is_true(says(keep(connect(server)), "hello"))
    assert.equal(2, server:connections()) -- the silent one is there still
    local silent = keep(net.connect(serve({ handshake_timeout = 0.05 }):address()))
    assert.is_nil((silent:read()))
    assert.equal(0, #helper.reports.take())
  end)

  it("does not mind a peer that speaks something else", function()
    local server = serve()
    local plain = keep(net.connect(server:address()))
    plain:write "GET / HTTP/1.0\r\n\r\n"
    plain:flush()
    plain:read "a"
    assert.is_true(says(keep(connect(server)), "hello"))
    while server:connections() > 1 do neap.sleep(0.001) end
    assert.equal(0, #helper.reports.take())
  end)

  it("says so in debug mode", function()
    local loop = neap.get_event_loop()
    loop.slow_callback_duration = 10
    local server = serve()
    loop:set_debug(true)
    local plain = keep(net.connect(server:address()))
    plain:write "GET / HTTP/1.0\r\n\r\n"
    plain:flush()
    plain:read "a"
    while server:connections() > 0 do neap.sleep(0.001) end
    loop:set_debug(false)
    loop.slow_callback_duration = 0.1
    local reports = helper.reports.take()
    assert.equal("TLS handshake failed in neap.net.serve", reports[1].message)
  end)

  it("ends handshakes that are under way at a shutdown", function()
    local server = serve()
    local silent = keep(net.connect(server:address()))
    while server:connections() == 0 do neap.sleep(0) end
    assert.equal(1, server:shutdown(0))
    assert.is_nil((silent:read()))
  end)

  it("is not made without a certificate that can be read", function()
    local server, err = net.serve(echo, { tls = { cert = "/nowhere.pem", key = "/nowhere.pem" } })
    assert.is_nil(server)
    assert.is_true(neap.OSError:is(err))
  end)
end)

describe("a client with TLS", function()
  lazy_setup(certs.folder)

  it("gives up a server that does not shake hands, with the time-out of all", function()
    local before = helper.descriptors()
    do
      local listener <close> = assert(net.listen())
      local err = catch(connect, { address = function() return listener:address() end },
        { timeout = 0.05 })
      assert.is_true(neap.TimeoutError:is(err))
      local task = start(connect, { address = function() return listener:address() end })
      neap.sleep(0.02)
      task:cancel()
      neap.wait { task }
      assert.is_true(task:cancelled())
    end
    helper.await_descriptors(before)
  end)

  it("survives a cancel sweep", function()
    local server = serve()
    test.cancel_sweep(function(sweep)
      local stream <close> = assert(connect(server))
      sweep:track(stream, stream.is_closed)
      assert(says(stream, "x"))
    end)
  end)
end)
