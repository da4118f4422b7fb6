--- Whole programs, cancelled at each of their waits: nothing of them may be left.

local neap = require "neap"
local net = require "neap.net"
local test = require "neap.test"
local certs = require "spec.support.certs"

local function echo(stream)
  for line in stream:lines "L" do stream:write(line) end
end

describe("a cancel sweep of a whole program", function()
  lazy_setup(certs.folder)

  it("a client that resolves, connects, starts TLS and talks", function()
    local server = assert(net.tls_context(certs.identity "server"))
    local client = assert(net.tls_context(certs.trust()))
    local waits = test.cancel_sweep(function()
      local listener <close> = assert(net.listen {})
      local host, port = listener:address()
      local group <close> = neap.TaskGroup()
      group:create_task(function()
        local stream <close> = assert(listener:accept())
        assert(stream:start_tls { context = server, server = true })
        echo(stream)
      end)
      assert(net.resolve "127.0.0.1")
      local stream <close> = assert(net.connect(host, port))
      assert(stream:start_tls { context = client, server_name = "localhost" })
      stream:write("hello\n"):flush()
      assert(stream:read() == "hello")
      stream:shutdown()
      assert(stream:read "a" == "")
    end)
    assert.is_true(waits >= 4, waits)
  end)

  it("a server with clients that copy through a pipe", function()
    local waits = test.cancel_sweep(function()
      local server <close> = assert(net.serve(function(stream) stream:pipe(stream) end, {}))
      local host, port = server:address()
      local a <close> = assert(net.connect(host, port))
      local b <close> = assert(net.connect(host, port))
      a:write "over there\n":shutdown()
      assert(a:pipe(b) == 11)
      assert(b:read() == "over there")
      b:shutdown()
      assert(b:read "a" == "")
    end)
    assert.is_true(waits >= 4, waits)
  end)
end)
