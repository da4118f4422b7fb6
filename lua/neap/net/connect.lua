--- Connecting: Unix sockets, one address, or a race between several (RFC 8305).

local neap = require "neap"
local core = require "neap.core.net"
local options = require "neap.net.options"

local M = {}

--- Makes the stream an encrypted one: see neap.net.tls.
core.methods.start_tls = function(stream, opts)
  return require "neap.net.tls".start_tls(stream, opts)
end

local NAME = "neap.net.connect"
local DELAY = 0.25 -- seconds until the next address is tried as well

local SPEC = {
  tls = "tls",
  timeout = "seconds",
  local_addr = "any", -- checked below
  nodelay = "boolean",
  keepalive = "keepalive",
  family = "family",
  happy_eyeballs_delay = "seconds",
  addresses = "table",
}

--- Host and port in one text.
local function endpoint(host, port)
  if not port then return "unix:" .. (host:gsub("^\0", "@")) end
  return (host:find(":", 1, true) and "[%s]:%d" or "%s:%d"):format(host, port)
end

--- What an error says, without what was done.
local function reason(err)
  return (tostring(err.message):gsub("^[%a_]+: ", ""))
end

--- The same error, its message saying to where.
local function explain(err, host, port)
  err.message = ("connect to %s: %s"):format(endpoint(host, port), reason(err))
  return err
end

-- ---- a guard ------------------------------------------------------------------------

--- Closes its stream when a block is left, unless it was taken out; and ends its timer.
local Guard = {
  __close = function(self)
    if self.timer then self.timer:cancel() end
    if self.stream then self.stream:close() end
  end,
}

-- ---- addresses ------------------------------------------------------------------------

--- Families take turns, beginning with that of the first: RFC 8305, section 4.
local function interleave(list)
  local first, rest = {}, {}
  for _, one in ipairs(list) do
    local into = one.family == list[1].family and first or rest
    into[#into + 1] = one
  end
  local out = {}
  for i = 1, math.max(#first, #rest) do
    out[#out + 1] = first[i]
    out[#out + 1] = rest[i]
  end
  return out
end

local function os_error(code, message)
  local err = neap.OSError(message)
  err.code, err.op = code, "connect"
  return err
end

--- The addresses that may be tried, or nil and an error. Awaits where `host` is a name.
local function addresses_of(host, opts)
  local list
  local family = core.is_address(host)
  if opts.addresses then
    list = {}
    for i, text in ipairs(opts.addresses) do
      list[i] = { address = text, family = core.is_address(text) }
    end
  elseif family then
    list = { { address = host, family = family } }
  else
    local found, err = require "neap.net.resolve".resolve(host, { family = opts.family })
    if not found then return nil, err end
    list = found
  end
  local wanted = { opts.family, opts.local_family }
  local usable = {}
  for _, one in ipairs(list) do
    local fits = true
    for _, f in pairs(wanted) do fits = fits and one.family == f end
    if fits then usable[#usable + 1] = one end
  end
  if not usable[1] then
    return nil, os_error("EAFNOSUPPORT",
      ("connect to %s: no address of the family that is wanted"):format(host))
  end
  return interleave(usable)
end

-- ---- one address, or several ---------------------------------------------------------

--- A stream, or nil and an error. Awaits.
local function connect_one(one, port, opts)
  return core.connect_tcp(one.address, port, opts.local_host, opts.local_port,
    opts.nodelay ~= false, options.keepalive(opts.keepalive))
end

--- The error of all of them.
local function all_failed(host, port, list, errors)
  local lines = {}
  local first
  for i, one in ipairs(list) do
    if errors[i] then
      first = first or errors[i]
      lines[#lines + 1] = endpoint(one.address, port) .. " " .. reason(errors[i])
    end
  end
  local err = os_error(first.code,
    ("connect to %s: %s"):format(endpoint(host, port), table.concat(lines, "; ")))
  err.errors = errors
  return err
end

--- Tries the addresses one after the other, each as soon as one before it failed or
--- `delay` has passed; the first connection goes to winner.stream, the other attempts are
--- cancelled. Gives the errors.
local function race(winner, port, list, opts, delay)
  local loop = neap.get_event_loop()
  local news = neap.Event()
  local errors, running, fault = {}, 0, nil
  local group <close> = neap.TaskGroup() -- it waits for the losers to be gone

  local function attempt(i)
    local ok, stream, err = pcall(connect_one, list[i], port, opts)
    running = running - 1
    news:set()
    if not ok then
      if neap.CancelledError:is(stream) then error(stream, 0) end
      fault = stream
    elseif not stream then
      errors[i] = err
    elseif winner.stream then
      stream:close() -- a moment too late
    else
      winner.stream = stream
    end
  end

  local tasks = {}
  for i = 1, #list do
    news:clear()
    running = running + 1
    tasks[i] = group:create_task(attempt, i)
    if i == #list then break end
    winner.timer = loop:call_later(delay, news.set, news)
    news:wait()
    winner.timer:cancel()
    if winner.stream or fault then break end
  end
  while running > 0 and not (winner.stream or fault) do
    news:clear()
    news:wait()
  end
  for _, task in ipairs(tasks) do task:cancel() end
  if fault and not winner.stream then error(fault, 0) end
  return errors
end

local function connect_any(host, port, list, opts)
  local winner <close> = setmetatable({}, Guard)
  local errors = race(winner, port, list, opts, opts.happy_eyeballs_delay or DELAY)
  local stream = winner.stream
  winner.stream = nil
  if not stream then return nil, all_failed(host, port, list, errors) end
  return stream
end

local function connect_inet(host, port, opts)
  local list, err = addresses_of(host, opts)
  if not list then return nil, err end
  if not list[2] then
    local stream
    stream, err = connect_one(list[1], port, opts)
    if stream then return stream end
    return nil, explain(err, list[1].address, port)
  end
  return connect_any(host, port, list, opts)
end

--- Waits like a blocking connect(2) while the listener's backlog is full.
local function connect_unix(path)
  local pause = 0.001
  while true do
    local stream, err = core.connect_unix(path)
    if stream then return stream end
    if err.code ~= "EAGAIN" then return nil, explain(err, path) end
    neap.sleep(pause)
    pause = math.min(pause * 2, 0.05)
  end
end

-- ---- all of it -------------------------------------------------------------------------

--- Makes a secure stream of one that is connected, or closes it: nil and an error. Awaits.
local function secure(stream, host, opts)
  local guard <close> = setmetatable({ stream = stream }, Guard)
  local tls = require "neap.net.tls"
  local context, err = tls.context(opts.tls, false, NAME)
  if not context then return nil, err end
  local ok
  ok, err = tls.start(stream, context, { host = host })
  if not ok then return nil, err end
  guard.stream = nil
  return stream
end

local function open(host, port, path, opts)
  local stream, err
  if path then
    stream, err = connect_unix(path)
  else
    stream, err = connect_inet(host, port, opts)
  end
  if not stream then return nil, err end
  if opts.tls then return secure(stream, not path and host or nil, opts) end
  return stream
end

--- Splits opts.local_addr: "address", or { "address", port }.
local function local_address(opts, level)
  local addr = opts.local_addr
  if addr == nil then return opts end
  local host, port = addr, 0
  if type(addr) == "table" then host, port = addr[1], addr[2] or 0 end
  local family = type(host) == "string" and core.is_address(host)
  if not family or math.type(port) ~= "integer" or port < 0 or port > 65535 then
    error(("bad option 'local_addr' to '%s' (numeric address, or a table of that and a port, "
      .. "expected, got %s)"):format(NAME, options.tell(type(addr) == "table" and host or addr)),
      level + 1)
  end
  local copy = {}
  for key, value in pairs(opts) do copy[key] = value end
  copy.local_host, copy.local_port, copy.local_family = host, port, family
  return copy
end

local function check_addresses(opts, level)
  if not opts.addresses then return end
  for _, text in ipairs(opts.addresses) do
    if type(text) ~= "string" or not core.is_address(text) then
      error(("bad option 'addresses' to '%s' (list of numeric addresses expected, got %s)")
        :format(NAME, options.tell(text)), level + 1)
    end
  end
  if #opts.addresses == 0 then
    error(("bad option 'addresses' to '%s' (the list is empty)"):format(NAME), level + 1)
  end
end

--- See neap.net.connect.
function M.connect(host, port, opts)
  options.argument(host, "host", 1, NAME, 2)
  local path = host:match "^unix:(.*)$"
  if path then
    if opts == nil then
      opts = port
    elseif port ~= nil then
      error(("bad argument #2 to '%s' (a Unix socket has no port)"):format(NAME), 2)
    end
    opts = options.check(opts, SPEC, opts == port and 2 or 3, NAME, 2)
    if path == "" then
      error(("bad argument #1 to '%s' (there is no path in 'unix:')"):format(NAME), 2)
    end
  else
    options.argument(port, "port", 2, NAME, 2)
    opts = options.check(opts, SPEC, 3, NAME, 2)
    check_addresses(opts, 2)
    opts = local_address(opts, 2)
  end
  if opts.tls then require "neap.net.tls".check(opts.tls, false, NAME, 2) end
  if not opts.timeout then return open(host, port, path, opts) end
  local guard <close> = setmetatable({}, Guard)
  local stream, err
  do
    local _timeout <close> = neap.timeout(opts.timeout)
    stream, err = open(host, port, path, opts)
    guard.stream = stream -- the time-out may come just now
  end
  guard.stream = nil
  return stream, err
end

M.pair = core.pair

return M
