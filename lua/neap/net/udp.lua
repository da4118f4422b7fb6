--- Datagrams: `net.udp(opts)` makes a socket.
---
--- The methods are in C (src/udp.c, src/udpopt.c); here are the names of hosts, which have
--- to be resolved first.

local core = require "neap.core.udp"
local options = require "neap.net.options"

local M = {}

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

local SPEC = {
  host = "host", port = "port", connect = "table", family = "family", reuse_addr = "boolean",
  reuse_port = "boolean", broadcast = "boolean", ipv6only = "boolean", ttl = "any",
  recv_buffer = "positive", send_buffer = "positive", limit = "positive",
}
local PEER = { host = "host", port = "port" }

--- The first address of a host. Awaits where it is a name.
---@async
local function address_of(host, family)
  local list, err = require "neap.net.resolve".resolve(host, { family = family })
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
function M.udp(opts)
  opts = options.check(opts, SPEC, 1, "neap.net.udp", 2)
  local given = {}
  for name, value in pairs(opts) do given[name] = value end
  local family, peer = opts.family, opts.connect
  if peer then
    options.check(peer, PEER, 1, "neap.net.udp", 2)
    if not (peer.host and peer.port) then
      error("bad option 'connect' to 'neap.net.udp' (table with host and port expected)", 2)
    end
    local address, err = address_of(peer.host, family)
    if not address then return nil, err end
    given.peer_host, given.peer_port = address, peer.port
  end
  if opts.host then
    local address, err = address_of(opts.host, family)
    if not address then return nil, err end
    given.host = address
  elseif family == "inet6" then
    given.host = "::"
  end
  local socket, err = core.open(given)
  if not socket then return nil, err end
  return socket
end

return M
