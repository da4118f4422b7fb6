--- neap.net: TCP and Unix sockets, TLS, UDP, names.

require "neap" -- the core is there from here on, in stock Lua as well
local connecting = require "neap.net.connect"
local listening = require "neap.net.listen"
local options = require "neap.net.options"

local M = {}

---@class neap.net.ConnectOptions
---@field tls (boolean|table|userdata)?  TLS: true, a table of neap.net.tls, or a context
---@field timeout number?  seconds for names, connecting and TLS together
---@field local_addr (string|table)?  our end: a numeric address, or { address, port }
---@field nodelay boolean?  false: small writes may be held back to be sent together
---@field keepalive (boolean|number)?  seconds of silence after which a peer is probed
---@field family ("inet"|"inet6")?  only addresses of this family
---@field happy_eyeballs_delay number?  seconds until the next address is tried (0.25)
---@field addresses string[]?  numeric addresses, in place of looking `host` up

--- Connects to a host and port, or to "unix:/path". Awaits. Raises TimeoutError where
--- opts.timeout is over before there is a connection.
---
--- Several addresses are tried as RFC 8305 has it: the next one when one failed, or has
--- not answered for a while, and the first that answers is it.
---@async
---@param host string  a name, a numeric address, or "unix:/path" ("unix:\0name")
---@param port integer|neap.net.ConnectOptions|nil  none for a Unix socket
---@param opts neap.net.ConnectOptions?
---@return userdata? stream
---@return neap.OSError? err
M.connect = connecting.connect

--- Two streams that are connected with each other, by socketpair(2): what is written to
--- one is read from the other.
---@return userdata? stream
---@return userdata|neap.OSError other  or why there are none
M.pair = connecting.pair

---@class neap.net.ListenOptions
---@field host string?  "127.0.0.1", "::1", a name, "*": all interfaces; default "127.0.0.1"
---@field port integer?  0, the default: the system picks a free one
---@field path string?  of a Unix socket, in place of host and port
---@field backlog integer?  connections that the system holds for us (512)
---@field reuse_addr boolean?  false: not on a port that old connections still use
---@field reuse_port boolean?  several processes may listen on the port, and share the load
---@field ipv6only boolean?  an IPv6 address does not take IPv4 as well
---@field nodelay boolean?  of the accepted streams, as for connect
---@field keepalive (boolean|number)?  the same
---@field mode integer?  permissions of the file of a Unix socket, e.g. 384 (octal 600)
---@field family ("inet"|"inet6")?  of the addresses of a name, or of "*"

--- Listens. Awaits only where the host is a name.
---@async
---@param opts (neap.net.ListenOptions|string)?  or "unix:/path"
---@return userdata? listener  accept() (awaits), close(), is_closed(), address(), fileno()
---@return neap.OSError? err
function M.listen(opts, more)
  if type(opts) == "string" then
    local path = opts:match "^unix:(.+)$"
    if not path then
      error("bad argument #1 to 'neap.net.listen' (table or \"unix:/path\" expected, got "
        .. options.tell(opts) .. ")", 2)
    end
    local copy = { path = path }
    for key, value in pairs(options.check(more, listening.SPEC, 2, "neap.net.listen", 2)) do
      copy[key] = value
    end
    opts = copy
  end
  opts = options.check(opts, listening.SPEC, 1, "neap.net.listen", 2)
  local listener, err = listening.listen(opts, "neap.net.listen", 2)
  return listener, err
end

---@class neap.net.ServeOptions : neap.net.ListenOptions
---@field tls (table|userdata)?  TLS: a table with cert and key, or a context for servers
---@field limit integer?  connections at a time; further ones wait to be accepted
---@field handshake_timeout number?  seconds for the TLS handshake of a connection (60)
---@field grace number?  seconds that handlers get when the block of a <close> is left (0)
---@field listener userdata?  to accept on, in place of all options of listen

--- Serves: calls handler(stream, server) for each connection, in a task of its own, and
--- closes the stream when it returns. An error of a handler is reported to the exception
--- handler of the loop; the server goes on. Awaits only for names and certificates.
---@async
---@param handler fun(stream: userdata, server: neap.net.Server)
---@param opts (neap.net.ServeOptions|string)?  or "unix:/path"
---@return neap.net.Server? server
---@return neap.OSError? err
function M.serve(handler, opts)
  local server, err = require "neap.net.serve".serve(handler, opts, listening)
  return server, err
end

-- What is loaded when it is used first.
local LAZY = {
  udp = function() return require "neap.net.udp".udp end,
  resolve = function() return require "neap.net.resolve".resolve end,
  tls = function() return require "neap.net.tls" end,
  tls_context = function() return require "neap.net.tls".tls_context end,
}

return setmetatable(M, {
  __index = function(module, key)
    local load = LAZY[key]
    if not load then return nil end
    local value = load()
    rawset(module, key, value)
    return value
  end,
})
