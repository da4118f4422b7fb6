-- Much over TLS: a server sends so many MB to a client in the same process. Beside it, the
-- same in C: scripts/bench/c/tls_transfer.c, where it is said how to run both.
local neap = require "neap"
local net = require "neap.net"

local total = tonumber(arg[1] or 1000) * 1000000
local folder = os.getenv "KEEP"
if not folder then
  local pipe <close> = assert(io.popen "mktemp -d")
  folder = pipe:read()
end
local cert, key = folder .. "/cert.pem", folder .. "/key.pem"
assert(os.execute(("openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes "
  .. "-subj /CN=localhost -addext subjectAltName=DNS:localhost -days 2 -keyout %s -out %s "
  .. "2>/dev/null"):format(key, cert)))

local piece = ("x"):rep(64 * 1024)

local function send(stream)
  local left = total
  while left >= #piece do
    assert(stream:write(piece))
    left = left - #piece
  end
  stream:write(piece:sub(1, left))
  stream:shutdown()
end

neap.run(function()
  local server <close> = assert(net.serve(send, { tls = { cert = cert, key = key } }))
  local _, port = server:address()
  local client = assert(net.tls_context { cafile = cert, server_name = "localhost" })
  local loop = neap.get_running_loop()
  local start = loop:time()
  local stream <close> = assert(net.connect("127.0.0.1", port, { tls = client }))
  local received = 0
  for data in function() return stream:read_some() end do received = received + #data end
  local seconds = loop:time() - start
  assert(received == total)
  print(("tls_transfer: %.0f MB/s (%s)"):format(total / 1e6 / seconds, stream:tls_info().cipher))
end)
if not os.getenv "KEEP" then os.execute(("rm -rf '%s'"):format(folder)) end
