--- Connects with TLS and prints the certificate that the server shows:
---
---     neap scripts/tls_client.lua example.org [443]
---
--- Without a host it talks to a server of its own, with a certificate made for it.

local neap = require "neap"
local net = require "neap.net"
local fs = require "neap.fs"
local process = require "neap.process"

local function print_certificate(stream)
  local info = stream:tls_info()
  local cert = info.peer_certificate
  print("version  " .. info.version)
  print("subject  " .. cert.subject)
  print("issuer   " .. cert.issuer)
  for _, name in ipairs(cert.names) do print("name     " .. name) end
  local day = 24 * 3600
  print(("valid    for %d more days"):format(math.ceil((cert.not_after - os.time()) / day)))
  if arg[1] then -- what is another one each time
    print("from     " .. os.date("!%Y-%m-%d %H:%M:%S", cert.not_before) .. " UTC")
    print("to       " .. os.date("!%Y-%m-%d %H:%M:%S", cert.not_after) .. " UTC")
    print("serial   " .. cert.serial)
    print("SHA-256  " .. cert.fingerprint)
  end
end

-- An error says what is wrong with a server: "certificate has expired", "host name
-- mismatch", "self-signed certificate".
local function show(host, port, tls)
  local stream, err = net.connect(host, port, { tls = tls, timeout = 10 })
  if not stream then
    print("refused: " .. err.message:gsub("^[%a_]+: ", ""))
    return false
  end
  local _stream <close> = stream
  print_certificate(stream)
  return true
end

if arg[1] then os.exit(show(arg[1], math.tointeger(arg[2] or 443), true)) end

local folder = assert(fs.mkdtemp())
local _folder <close> = setmetatable({}, { __close = function()
  fs.remove(folder, { recursive = true })
end })
local cert, key = folder .. "/cert.pem", folder .. "/key.pem"
assert(process.run { "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
  "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/O=neap/CN=localhost", "-addext",
  "subjectAltName=DNS:localhost,IP:127.0.0.1", "-days", "30", "-keyout", key, "-out", cert,
  stderr = "null", check = true })

local server = assert(net.serve(function(stream) stream:read() end, {
  tls = { cert = cert, key = key },
}))
local _, port = server:address()

print "-- with the certificates of the system"
show("127.0.0.1", port, true)
print "-- as somebody else"
show("127.0.0.1", port, { cafile = cert, server_name = "example.org" })
print "-- with the certificate itself"
show("127.0.0.1", port, { cafile = cert })
server:close()
neap.sleep(0)
