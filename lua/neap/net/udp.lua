--- Datagrams: `net.udp(opts)` makes a socket.
---
--- The methods are in C (src/udp.c, src/udpopt.c); here are the names of hosts, which have
--- to be resolved first.

local core = require "neap.core.udp"

---@class neap.UdpOptions
---@field host string?         address or name to receive at; "0.0.0.0" if not given
---@field port integer?        0 to 65535; 0, which is the default, has the system pick one
---@field connect { host: string, port: integer }? the only peer: sends go there
---@field family "inet"|"inet6"|nil which addresses of a name are taken
---@field reuse_addr boolean?  SO_REUSEADDR: several sockets of a multicast port
---@field reuse_port boolean?  SO_REUSEPORT: the system shares out what arrives
---@field broadcast boolean?   may send to broadcast addresses
---@field ipv6only boolean?    a socket at "::" takes nothing from IPv4
---@field ttl integer?         1 to 255
---@field recv_buffer integer? bytes of the system's buffers
---@field send_buffer integer?
---@field limit integer?       bytes that are read before somebody asks; 256 KiB

local KNOWN = {
  host = true, port = true, connect = true, family = true, reuse_addr = true,
  reuse_port = true, broadcast = true, ipv6only = true, ttl = true, recv_buffer = true,
  send_buffer = true, limit = true,
}

local function bad(level, what, expected, value)
  error(("bad %s to 'neap.net.udp' (%s expected, got %s)"):format(what, expected, type(value)),
    level + 1)
end

--- The first address of a host. Awaits where it is a name.
---@async
local function address_of(host, family)
  local list, err = require "neap.net.resolve"(host, { family = family })
  if not list then return nil, err end
  return list[1].address
end

---@class neap.Udp
local Udp = core.methods

local send = Udp.send

--- Sends one datagram: true, once the system has taken it. A name is resolved first. Awaits
--- while the system has no room. A cancelled send may have left or leave all the same.
---@async
---@param data string   at most 65,507 bytes over IPv4
---@param host string?  address or name; only where the socket is not connected
---@param port integer? 0 to 65535
---@return true? sent   nil when the system refused
---@return neap.Error? err an OSError: EMSGSIZE (too long), ECONNREFUSED (told by ICMP), ...
function Udp:send(data, host, port)
  local ok, err = send(self, data, host, port)
  if ok then return ok end
  if ok == nil then return nil, err end
  local _, _, family = self:address()
  local address
  address, err = address_of(host, family == "inet" and "inet" or nil)
  if not address then return nil, err end
  return send(self, data, address, port)
end

--- Makes a socket. Awaits only where a host is a name.
---@async
---@param opts neap.UdpOptions?
---@return neap.Udp? socket nil when the system refused
---@return neap.Error? err  an OSError: EADDRINUSE, ...
local function udp(opts)
  if opts == nil then opts = {} end
  if type(opts) ~= "table" then bad(2, "argument #1", "table", opts) end
  local given = {}
  for name, value in pairs(opts) do
    if not KNOWN[name] then
      error(("unknown option '%s' to 'neap.net.udp'"):format(tostring(name)), 2)
    end
    given[name] = value
  end
  local family, peer = opts.family, opts.connect
  if family ~= nil and family ~= "inet" and family ~= "inet6" then
    bad(2, "option 'family'", '"inet" or "inet6"', family)
  end
  if peer ~= nil then
    if type(peer) ~= "table" then bad(2, "option 'connect'", "table", peer) end
    if type(peer.host) ~= "string" then bad(2, "option 'connect.host'", "string", peer.host) end
    if math.type(peer.port) ~= "integer" or peer.port < 0 or peer.port > 65535 then
      bad(2, "option 'connect.port'", "integer from 0 to 65535", peer.port)
    end
    local address, err = address_of(peer.host, family)
    if not address then return nil, err end
    given.peer_host, given.peer_port = address, peer.port
  end
  if opts.host ~= nil then
    if type(opts.host) ~= "string" then bad(2, "option 'host'", "string", opts.host) end
    local address, err = address_of(opts.host, family)
    if not address then return nil, err end
    given.host = address
  elseif family == "inet6" then
    given.host = "::"
  end
  return core.open(given)
end

return udp
