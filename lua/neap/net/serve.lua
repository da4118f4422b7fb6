--- Servers: a task that accepts, and one for each connection.

local neap = require "neap"
local core = require "neap.core.net"
local options = require "neap.net.options"
local receiver = require "neap.receiver"

local M = {}

local NAME = "neap.net.serve"
local PAUSE = 0.1 -- seconds, after accepting failed: descriptors may have run out
local HANDSHAKE = 60 -- seconds

-- What a peer that goes away does to whoever reads or writes.
local GONE = { ECONNRESET = true, EPIPE = true, ECONNABORTED = true, ETIMEDOUT = true,
  ESSLEOF = true }

---@class neap.net.Server
---@field listeners userdata[]
local Server = {}
Server.__index = Server
Server.__name = "neap.net.Server"

local function report(loop, message, err, task)
  loop:call_exception_handler {
    message = message,
    exception = err,
    traceback = task and task:traceback(),
    task = task,
  }
end

-- ---- connections -----------------------------------------------------------------------

--- An error that says no more than that the peer went away.
local function is_peers(err)
  return neap.OSError:is(err) and GONE[err.code] or false
end

--- What ends the program, and met a handler: the main chunk raises it as well.
local function is_interrupt(err)
  return neap.KeyboardInterrupt:is(err) or neap.Error:is(err) and err.name == "SystemExit"
end

--- Lets go of a connection whose task has ended.
local function ended(server, task)
  local stream = server._connections[task]
  if not stream then return end -- there was no memory to begin it
  server._connections[task] = nil
  server._count = server._count - 1
  server._change:set()
  if server._closed and server._count == 0 then server._ended:set() end
  stream:close() -- it is open when the task was cancelled before it began
  if not task:cancelled() then
    local err, loop = task:exception(), neap.get_running_loop()
    if err ~= nil and not is_interrupt(err) and (not is_peers(err) or loop:get_debug()) then
      report(loop, "Unhandled error in a connection handler of neap.net.serve", err, task)
    end
  end
end

--- The first part of a connection with TLS.
local function handshake(server, stream)
  local _timeout <close> = neap.timeout(server._handshake_timeout)
  return require "neap.net.tls".start(stream, server._tls, { server = true })
end

local function connection(server, stream)
  local _stream <close> = stream
  if server._tls then
    local fine, ok, err = neap.pcall(handshake, server, stream)
    if not fine and not neap.TimeoutError:is(ok) then error(ok, 0) end
    if not fine or not ok then
      if neap.get_running_loop():get_debug() then
        report(neap.get_running_loop(), "TLS handshake failed in neap.net.serve",
          fine and err or ok)
      end
      return
    end
  end
  server._handler(stream, server)
end

--- Where memory runs out it raises, and the stream is still the caller's.
local function begin(server, stream)
  local task = neap.create_task(connection, server, stream)
  task:add_done_callback(server._on_end)
  server._connections[task] = stream
  server._count = server._count + 1
end

-- ---- accepting -----------------------------------------------------------------------

--- Waits until something about the server changes, at most so many seconds.
local function wait_change(server, seconds)
  server._change:clear()
  local timer <close> = setmetatable({}, { __close = function(t)
    if t[1] then t[1]:cancel() end
  end })
  if seconds then
    timer[1] = neap.get_running_loop():call_later(seconds, server._change.set, server._change)
  end
  server._change:wait()
end

local function has_room(server) return server._count < server._limit end

--- True when a connection has begun, or nil and why not.
local function accept_one(server, listener)
  local stream, err = listener:accept()
  if not stream then return nil, err end
  local guard <close> = setmetatable({ stream }, { __close = function(g)
    if g[1] then g[1]:close() end
  end })
  -- Another listener of this server may have been faster.
  while not has_room(server) and not listener:is_closed() do wait_change(server) end
  if listener:is_closed() then return true end
  begin(server, stream)
  guard[1] = nil
  return true
end

--- The task of a listener. Nothing but a cancellation and its close ends it, not even
--- that there is no memory.
local function accept(server, listener)
  local _listener <close> = listener
  local failing = false
  while not listener:is_closed() do
    if not has_room(server) then
      wait_change(server)
    else
      local fine, ok, err = neap.pcall(accept_one, server, listener)
      if fine and ok then
        failing = false
      elseif not listener:is_closed() then
        if not failing then
          neap.pcall(report, neap.get_running_loop(),
            ("neap.net.serve cannot accept connections on %s, and keeps trying"):format(listener),
            fine and err or ok)
        end
        failing = true
        if not neap.pcall(wait_change, server, PAUSE) then neap.sleep(PAUSE) end
      end
    end
  end
end

-- ---- the Server ------------------------------------------------------------------------

--- Stops listening, at once. The connections go on. A second call does nothing.
function Server:close()
  receiver(self, Server, "close")
  if self._closed then return end
  self._closed = true
  for _, listener in ipairs(self.listeners) do listener:close() end
  self._change:set()
  if self._count == 0 then self._ended:set() end
end

--- Its loop was closed, and all that it had with it.
local function is_over(server) return server._loop:is_closed() end

--- Whether it was closed, or its loop.
---@return boolean
function Server:is_closed()
  receiver(self, Server, "is_closed")
  return self._closed or is_over(self)
end

--- Waits until the server is closed and its last connection has ended. Awaits.
---@async
function Server:wait_closed()
  receiver(self, Server, "wait_closed")
  local task = neap.current_task()
  if task and self._connections[task] then
    error("a handler of the server cannot wait for its end (in 'Server:wait_closed')", 2)
  end
  if not is_over(self) then self._ended:wait() end
end

--- The tasks of the connections, but for the one that runs.
local function others(server)
  local list, self = {}, neap.current_task()
  for task in pairs(server._connections) do
    if task ~= self then list[#list + 1] = task end
  end
  return list
end

--- Stops listening, gives the handlers so many seconds to end, cancels those that have
--- not, and waits for them. Awaits.
---@async
---@param timeout number?  seconds; nil: as long as it takes
---@return integer cancelled  how many handlers had to be cancelled
function Server:shutdown(timeout)
  receiver(self, Server, "shutdown")
  if timeout ~= nil then options.argument(timeout, "seconds", 1, "Server:shutdown", 2) end
  self:close()
  if is_over(self) then return 0 end
  local tasks = others(self)
  if not tasks[1] then return 0 end
  local late = tasks
  if timeout ~= 0 then
    local _, pending = neap.wait(tasks, { timeout = timeout })
    late = pending
  end
  local count = 0
  for _, task in ipairs(late) do
    if task:cancel() then count = count + 1 end
  end
  if late[1] then neap.wait(late) end
  return count
end

--- Leaving a block: a shutdown with the grace of the options, without one after an error
--- that is no cancellation.
---@async
function Server:__close(err)
  local in_order = err == nil or neap.CancelledError:is(err)
  self:shutdown(in_order and self._grace or 0)
end

--- Address of the listener, as net.connect takes it: host and port, or "unix:/path".
--- After the close what it was.
---@return string host
---@return integer? port
function Server:address()
  receiver(self, Server, "address")
  return table.unpack(self._address, 1, self._address.n)
end

--- How many connections there are.
---@return integer
function Server:connections()
  receiver(self, Server, "connections")
  return is_over(self) and 0 or self._count
end

function Server:__tostring()
  if self:is_closed() then
    return ("<Server closed, connections=%d>"):format(self:connections())
  end
  local where = tostring(self.listeners[1]):match "^<Listener (.*)>$"
  return ("<Server %s, connections=%d>"):format(where, self._count)
end

-- ---- making one --------------------------------------------------------------------------

local SPEC = {
  tls = "tls",
  limit = "positive",
  handshake_timeout = "seconds",
  grace = "seconds",
  listener = "listener",
}

--- The options that are for listening.
local function for_listen(opts)
  local rest = {}
  for key, value in pairs(opts) do
    if not SPEC[key] then rest[key] = value end
  end
  return rest
end

--- Makes a server of the listener.
local function make(handler, listener, tls, opts)
  local server
  server = setmetatable({
    listeners = { listener },
    _loop = neap.get_event_loop(),
    _handler = handler,
    _tls = tls,
    _limit = opts.limit or math.huge,
    _handshake_timeout = opts.handshake_timeout or HANDSHAKE,
    _grace = opts.grace or 0,
    _connections = {},
    _count = 0,
    _closed = false,
    _change = neap.Event(),
    _ended = neap.Event(),
    _address = table.pack(listener:address()),
    _on_end = function(task) ended(server, task) end,
  }, Server)
  neap.create_task(accept, server, listener)
  return server
end

--- See neap.net.serve. `listen(opts, spec, name, level)` makes a listener.
function M.serve(handler, opts, listen)
  if type(handler) ~= "function" then
    local meta = getmetatable(handler)
    if not (type(meta) == "table" and meta.__call) then
      error(("bad argument #1 to '%s' (function expected, got %s)"):format(NAME,
        type(handler)), 3)
    end
  end
  if type(opts) == "string" then
    local path = opts:match "^unix:(.+)$"
    if not path then
      error(("bad argument #2 to '%s' (table or \"unix:/path\" expected, got %s)"):format(NAME,
        options.tell(opts)), 3)
    end
    opts = { path = path }
  end
  local spec = setmetatable({}, { __index = function(_, key)
    return SPEC[key] or listen.SPEC[key]
  end })
  opts = options.check(opts, spec, 2, NAME, 3)
  local tls = opts.tls or nil
  if tls then
    if tls == true then
      error(("bad option 'tls' to '%s' (table with cert and key expected, got true)")
        :format(NAME), 3)
    end
    local err
    require "neap.net.tls".check(tls, true, NAME, 3)
    tls, err = require "neap.net.tls".context(tls, true, NAME)
    if not tls then return nil, err end
  end
  local listener = opts.listener
  if listener then
    if not core.is_listener(listener) then
      error(("bad option 'listener' to '%s' (Listener expected, got %s)"):format(NAME,
        type(listener)), 3)
    end
    local ok, err = listener:address()
    if not ok then return nil, err end
  else
    local err
    listener, err = listen.listen(for_listen(opts), NAME, 3)
    if not listener then return nil, err end
  end
  return make(handler, listener, tls, opts)
end

return M
