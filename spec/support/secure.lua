--- Connections with TLS for the specs.

local neap = require "neap"
local net = require "neap.net"
local certs = require "spec.support.certs"

local M = {}

local open = {}

--- Has the stream closed at the end of the test; gives it back.
function M.track(stream)
  open[#open + 1] = stream
  return stream
end

--- Two connected streams without TLS.
function M.plain()
  local a, b = assert(net.pair())
  return M.track(a), M.track(b)
end

--- For after_each: nothing is left open.
function M.clean()
  for _, stream in ipairs(open) do stream:abort() end
  open = {}
  neap.sleep(0)
end

local contexts = {}

--- A context with options for identity(name), which later calls share.
function M.server(name)
  name = name or "server"
  contexts[name] = contexts[name] or assert(net.tls_context(certs.identity(name)))
  return contexts[name]
end

--- A context that trusts the CA, which later calls share.
function M.client()
  contexts[1] = contexts[1] or assert(net.tls_context(certs.trust()))
  return contexts[1]
end

local function options(what, more)
  local context
  if type(what) == "table" then
    context = assert(net.tls_context(what))
  else
    context = what
  end
  local opts = { context = context }
  for key, value in pairs(more) do opts[key] = value end
  return opts
end

--- Both handshakes on two plain streams. Client and server are contexts, tables of options
--- or nil. Gives what start_tls of the client and what that of the server gave.
function M.shake(a, b, client, server, name)
  local copts = options(client or M.client(), { server_name = name or "localhost" })
  local sopts = options(server or M.server(), { server = true })
  local task = neap.create_task(function() return table.pack(b:start_tls(sopts)) end)
  local of_client = table.pack(a:start_tls(copts))
  return of_client, task:await()
end

--- Two connected streams with TLS, the client's first.
function M.pair(client, server, name)
  local a, b = M.plain()
  local c, s = M.shake(a, b, client, server, name)
  assert(table.unpack(c))
  assert(table.unpack(s))
  return a, b
end

return M
