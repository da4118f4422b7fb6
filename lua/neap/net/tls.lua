--- TLS for streams: contexts, and starting it. What programs use of this is in neap.net
--- (`net.tls_context`) and on streams (`start_tls`, `tls_info`, `alpn`).

local neap = require "neap"
local core = require "neap.core.tls"

local M = {}

---@class neap.tls.Context
---@field close fun(self: neap.tls.Context)

---@class neap.tls.Options
---@field cafile string?  PEM file, or PEM text, with the certificates to trust
---@field cadir string?  folder of such files, as `openssl rehash` makes it
---@field cert string?  PEM file or text: our certificate, and those between it and the root
---@field key string?  PEM file or text of its key; where none is given it is beside `cert`
---@field password string?  of the key
---@field verify (boolean|"required"|"optional")?  default: clients verify, servers do not
---@field check_hostname boolean?  default true: the certificate has to be for the name
---@field server_name string?  whom we talk to, in place of the host that was connected to
---@field alpn string[]?  protocols, the best first
---@field ciphers string?  of TLS 1.2, as `openssl ciphers` takes them
---@field ciphersuites string?  of TLS 1.3
---@field min_version ("TLSv1.2"|"TLSv1.3")?  default "TLSv1.2"
---@field max_version ("TLSv1.2"|"TLSv1.3")?

-- ---- options --------------------------------------------------------------------

local VERSIONS = { ["TLSv1.2"] = 0x0303, ["TLSv1.3"] = 0x0304 }
-- See enum neap__tls_verify.
local DEFAULT, NONE, OPTIONAL, REQUIRED = 0, 1, 2, 3
local VERIFY = { [true] = REQUIRED, [false] = NONE, optional = OPTIONAL, required = REQUIRED }

local function bad(name, fn, expected, value, level)
  error(("bad option '%s' to '%s' (%s expected, got %s)"):format(name, fn, expected,
    type(value) == "string" and ("'%s'"):format(value) or type(value)), level + 1)
end

local function text(value) return type(value) == "string" and not value:find("\0", 1, true) end

local function alpn_wire(list)
  if type(list) ~= "table" or #list == 0 then return nil end
  local wire = {}
  for i, name in ipairs(list) do
    if type(name) ~= "string" or #name < 1 or #name > 255 then return nil end
    wire[i] = string.pack("s1", name)
  end
  wire = table.concat(wire)
  return #wire <= 65535 and wire or nil
end

-- What each option becomes for core.new_context, or nil and what was expected.
local OPTIONS = {
  alpn = function(value)
    return alpn_wire(value), "a list of names of 1 to 255 bytes"
  end,
  verify = function(value)
    return VERIFY[value], "boolean, 'optional' or 'required'"
  end,
  check_hostname = function(value)
    if type(value) == "boolean" then return value and 1 or 0 end
    return nil, "boolean"
  end,
  min_version = function(value) return VERSIONS[value], "'TLSv1.2' or 'TLSv1.3'" end,
  max_version = function(value) return VERSIONS[value], "'TLSv1.2' or 'TLSv1.3'" end,
}
for _, name in ipairs { "cafile", "cadir", "cert", "key", "password", "ciphers", "ciphersuites" } do
  OPTIONS[name] = function(value) return text(value) and value or nil, "string" end
end
function OPTIONS.server_name(value)
  return text(value) and #value > 0 and #value < 256 and value or nil, "a name"
end

local FIELD = { min_version = "min", max_version = "max" }

--- The options as core.new_context wants them. Raises for those that are wrong.
local function checked(opts, fn, level)
  local out = { verify = DEFAULT, check_hostname = 1, min = VERSIONS["TLSv1.2"], max = 0 }
  for name, value in pairs(opts) do
    local check = OPTIONS[name]
    if not check then
      error(("unknown option '%s' to '%s'"):format(tostring(name), fn), level + 1)
    end
    local good, expected = check(value)
    if good == nil then bad(name, fn, expected, value, level + 1) end
    out[FIELD[name] or name] = good
  end
  if out.key and not out.cert then bad("cert", fn, "a certificate for 'key'", nil, level + 1) end
  if out.max ~= 0 and out.max < out.min then
    bad("max_version", fn, "at least min_version", opts.max_version, level + 1)
  end
  return out
end

-- ---- contexts ---------------------------------------------------------------------

local shared -- the context of clients that say nothing
local loading = neap.Lock()

local function shared_context()
  if shared then return shared end
  local _loading <close> = loading:acquire()
  local err
  if not shared then shared, err = core.new_context(checked({}, "", 1)) end
  return shared, err
end

--- Raises where M.context would.
---@param opts true|neap.tls.Options|neap.tls.Context
---@param server boolean?
---@param fn string
---@param level integer?
function M.check(opts, server, fn, level)
  level = (level or 1) + 1
  if core.is_context(opts) then
    if server and not core.has_identity(opts) then
      error(("bad option 'tls' to '%s' (a server's context needs 'cert' and 'key')"):format(fn),
        level)
    end
  elseif type(opts) == "table" then
    if server and opts.cert == nil then
      error(("bad option 'cert' to '%s' (a server needs 'cert' and 'key')"):format(fn), level)
    end
    checked(opts, fn, level)
  elseif opts ~= true then
    error(("bad option 'tls' to '%s' (true, a table or a context expected, got %s)")
      :format(fn, type(opts)), level)
  end
end

--- A context from `true`, a table of options or a context. Awaits; `nil, err` when a file
--- cannot be read. Raises for wrong options. `fn` is for whom, in messages.
---@async
---@param opts true|neap.tls.Options|neap.tls.Context
---@param server boolean?  it has to have a certificate
---@param fn string?
---@param level integer?  of whom the error is
---@return neap.tls.Context?
---@return neap.OSError?
function M.context(opts, server, fn, level)
  fn, level = fn or "neap.net.tls_context", (level or 1) + 1
  M.check(opts, server, fn, level)
  if core.is_context(opts) then return opts end
  if opts == true or next(opts) == nil then return shared_context() end
  return core.new_context(checked(opts, fn, level))
end

--- net.tls_context: a context that many connections can share. Awaits: files are read and
--- certificates parsed by a thread.
---@async
---@param opts neap.tls.Options?
---@return neap.tls.Context?
---@return neap.OSError?
function M.tls_context(opts)
  if opts ~= nil and type(opts) ~= "table" then
    error(("bad argument #1 to 'neap.net.tls_context' (table expected, got %s)")
      :format(type(opts)), 2)
  end
  return core.new_context(checked(opts or {}, "neap.net.tls_context", 2))
end

-- ---- streams ------------------------------------------------------------------------

--- Makes the stream an encrypted one. Awaits the handshake. On failure the stream is
--- closed.
---@async
---@param stream neap.Stream
---@param context neap.tls.Context
---@param opts { server: boolean?, server_name: string?, host: string? }?  `host`: for clients,
---  what was connected to, where neither server_name nor the context names anybody
---@return neap.Stream?
---@return neap.OSError?
function M.start(stream, context, opts)
  opts = opts or {}
  return core.start(stream, context, opts.server or false, opts.server_name, opts.host)
end

-- Closes its stream when a block is left, unless it was taken out.
local Guard = {
  __close = function(self)
    if self[1] then self[1]:close() end
  end,
}

--- Raises where TLS cannot begin on the stream.
local function check_stream(stream, level)
  local fine, wrong = pcall(core.check, stream)
  if not fine then error(wrong, level + 1) end
end

--- stream:start_tls(opts): the same for programs. `opts`: true, a table of context options
--- and `server = true`, `context = ...`, or a context.
---@async
---@param stream neap.Stream
---@param opts (true|neap.tls.Options|neap.tls.Context)?
---@return neap.Stream?
---@return neap.OSError?
function M.start_tls(stream, opts)
  local fn = "Stream:start_tls"
  local context, server, name = opts, false, nil
  if opts == nil then opts = {} end
  if type(opts) == "table" then
    local rest = {}
    for key, value in pairs(opts) do rest[key] = value end
    server, rest.server = rest.server or false, nil
    if type(server) ~= "boolean" then bad("server", fn, "boolean", server, 2) end
    context, rest.context = rest.context, nil
    name = rest.server_name
    if context ~= nil then
      rest.server_name = nil
      local other = next(rest)
      if not core.is_context(context) then bad("context", fn, "a context", context, 2) end
      if other then
        error(("bad option '%s' to '%s' (the context says that)"):format(tostring(other), fn), 2)
      end
      if name ~= nil then checked({ server_name = name }, fn, 2) end
    else
      rest.server_name = nil
      if name ~= nil then checked({ server_name = name }, fn, 2) end
      context = rest
    end
  end
  check_stream(stream, 2)
  M.check(context, server, fn, 2)
  local err
  do
    local guard <close> = setmetatable({ stream }, Guard)
    context, err = M.context(context, server, fn, 2)
    if context then guard[1] = nil end
  end
  if not context then return nil, err end
  check_stream(stream, 2) -- again, for others may have used it meanwhile
  return core.start(stream, context, server, name)
end

return M
