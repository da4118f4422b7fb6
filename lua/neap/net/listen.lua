--- Listening on TCP and Unix sockets.

local core = require "neap.core.net"
local options = require "neap.net.options"

local M = {}

local BACKLOG = 512

M.SPEC = {
  host = "host",
  port = "port",
  path = "host",
  backlog = "backlog",
  reuse_addr = "boolean",
  reuse_port = "boolean",
  ipv6only = "boolean",
  nodelay = "boolean",
  keepalive = "keepalive",
  mode = "mode",
  family = "family",
}

-- Options that the other kind of socket has not.
local INET = { "host", "port", "reuse_addr", "reuse_port", "ipv6only", "nodelay", "keepalive",
  "family" }
local UNIX = { "mode" }

--- The error names where.
local function explain(err, where)
  err.message = ("listen on %s: %s"):format(where, (tostring(err.message):gsub("^[%a_]+: ", "")))
  return err
end

--- The addresses to try in turn, or nil and an error.
local function addresses_of(host, family)
  if host == "*" then
    if family == "inet" then return { "0.0.0.0" } end
    if family == "inet6" then return { "::" } end
    return { "::", "0.0.0.0" } -- "::" takes IPv4 as well
  end
  local is = core.is_address(host)
  if is then return { host } end
  local found, err = require "neap.net.resolve".resolve(host, { family = family })
  if not found then return nil, err end
  return { found[1].address }
end

local function listen_inet(opts)
  local host, port = opts.host or "127.0.0.1", opts.port or 0
  local list, err = addresses_of(host, opts.family)
  if not list then return nil, err end
  local listener
  for _, address in ipairs(list) do
    listener, err = core.listen_tcp(address, port, opts.backlog or BACKLOG,
      opts.reuse_addr ~= false, opts.reuse_port or false, opts.ipv6only or false,
      opts.nodelay ~= false, options.keepalive(opts.keepalive))
    if listener then return listener end
    -- A system without IPv6 says one of these.
    if err.code ~= "EAFNOSUPPORT" and err.code ~= "EADDRNOTAVAIL" then break end
  end
  return nil, explain(err, (host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(host, port))
end

local function listen_unix(opts)
  local listener, err = core.listen_unix(opts.path, opts.backlog or BACKLOG, opts.mode or -1)
  if listener then return listener end
  return nil, explain(err, "unix:" .. opts.path:gsub("^\0", "@"))
end

--- A listener for options that were checked, or nil and an error. Awaits for a name.
function M.listen(opts, name, level)
  for _, key in ipairs(opts.path and INET or UNIX) do
    if opts[key] ~= nil then
      error(("bad option '%s' to '%s' (%s)"):format(key, name, opts.path
        and "it is for TCP, and there is a path" or "it is for Unix sockets, and there is no path"),
        level + 1)
    end
  end
  if opts.path then return listen_unix(opts) end
  return listen_inet(opts)
end

return M
