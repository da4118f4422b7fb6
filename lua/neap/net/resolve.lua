--- Names to addresses: `net.resolve(host, opts)`.
---
--- Numeric addresses are read on the spot; names are asked for by c-ares, or by
--- getaddrinfo on libuv's threads where c-ares is missing (src/dns.c, src/cares.c).

local neap = require "neap"
local core = require "neap.core.dns"
local options = require "neap.net.options"

local M = {}

---@class neap.ResolveOptions
---@field family "inet"|"inet6"|nil only addresses of this family
---@field port integer?       put into each result
---@field service string?     a name whose port is put there: "https"
---@field timeout number?     seconds until TimeoutError is raised
---@field numeric boolean?    takes addresses only, no names
---@field servers string[]?   to be asked in place of the system's: { "127.0.0.1:5353" }

---@class neap.Address
---@field address string      "127.0.0.1", "::1", "fe80::1%eth0"
---@field family "inet"|"inet6"
---@field port integer?       where port or service was given

local NAME = "neap.net.resolve"
local SPEC = {
  family = "family", port = "port", service = "host", timeout = "seconds",
  numeric = "boolean", servers = "table",
}

local function check_servers(list, level)
  if list == nil then return nil end
  for i = 1, math.max(#list, 1) do
    if type(list[i]) ~= "string" or list[i] == "" or list[i]:find "[,%z]" then
      error(("bad option 'servers' to '%s' (list of addresses expected)"):format(NAME),
        level + 1)
    end
  end
  return table.concat(list, ",")
end

local function refuse(host, code, text)
  local err = neap.OSError(("resolve %s: %s"):format(host, text))
  err.code, err.op = code, "resolve"
  return nil, err
end

--- The addresses of a host, best first (RFC 6724). Awaits where it is a name.
---@async
---@param host string                a name, or an address, which is given back
---@param opts neap.ResolveOptions?
---@return neap.Address[]? addresses at least one
---@return neap.Error? err           an OSError: EAI_NONAME (no such name), EAI_AGAIN (no
--- server answered), EAI_NODATA (no address of this kind), ...
function M.resolve(host, opts)
  if type(host) ~= "string" then
    error(("bad argument #1 to '%s' (string expected, got %s)"):format(NAME, type(host)), 2)
  end
  opts = options.check(opts, SPEC, 2, NAME, 2)
  local servers = check_servers(opts.servers, 2)
  local list, err
  if not opts.service then
    list, err = core.numeric(host, opts.family, opts.port)
    if list then return list end
    if list == nil then return nil, err end
  end
  if opts.numeric then
    return refuse(host, "EAI_NONAME", "not an address")
  end
  if opts.timeout then
    local _timeout <close> = neap.timeout(opts.timeout)
    list, err = core.resolve(host, opts.family, opts.port, opts.service, servers)
  else
    list, err = core.resolve(host, opts.family, opts.port, opts.service, servers)
  end
  if not list then return nil, err end
  return list
end

return M
