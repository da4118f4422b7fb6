--- Threads: loops in other threads, executors, channels.
---
--- Each OS thread has a Lua state and a loop of its own. What crosses is copied; channels,
--- loops and buffers cross by reference. See docs/THREAD.md.

local neap = require "neap"
local core = require "neap.core.thread"
local receiver = require "neap.receiver"
local check_wait = require "neap.core.worker".check_wait

local M = {}

-- What is loaded when it is first used: name -> module that returns it, or a table of it.
local PARTS = {
  Channel = "neap.core.channel",
  select = "neap.core.channel",
  Buffer = "neap.core.buffer",
  register = "neap.core.packet",
  ThreadPoolExecutor = "neap.thread.thread_pool",
  ProcessPoolExecutor = "neap.thread.process_pool",
  cluster = "neap.thread.cluster",
}

setmetatable(M, {
  __index = function(_, name)
    local part = PARTS[name]
    if not part then return nil end
    local value = require(part)
    if type(value) == "table" and value[name] ~= nil then value = value[name] end
    rawset(M, name, value)
    return value
  end,
})

--- From now on tables with this metatable cross, to where it has the same name. The other
--- side requires the module that has it, if need be. Raises where one of the two is taken.
---@alias neap.thread.register fun(name: string, metatable: table)

--- Bytes that threads share, of a fixed size. Crosses by reference; each call is one step
--- for the other threads. Positions count from 1; what does not fit raises.
---@class neap.Buffer
---@operator len: integer
---@field sub fun(self: neap.Buffer, i?: integer, j?: integer): string  as string.sub
---@field write fun(self: neap.Buffer, pos: integer, ...: string): integer  the position behind
---@field fill fun(self: neap.Buffer, byte: integer, i?: integer, j?: integer)
---@field get fun(self: neap.Buffer, fmt: string, pos?: integer): any ...  as string.unpack
---@field set fun(self: neap.Buffer, pos: integer, fmt: string, ...: any): integer  as string.pack
---@field add fun(self: neap.Buffer, pos: integer, n?: integer): integer  the counter's new value

---@alias neap.thread.Buffer fun(from: integer|string): neap.Buffer  its size (zeros), or its bytes

--- Hands values from task to task, in any threads; each is received once. Crosses by
--- reference. send raises QueueShutDown once it is closed; recv gives nil when it is closed and
--- empty. A task that waits keeps others going; cancelled, it takes and leaves nothing.
---@class neap.Channel
---@operator len: integer
---@field send async fun(self: neap.Channel, value: any)  waits for a place; value: not nil
---@field recv async fun(self: neap.Channel): any  waits for a value
---@field try_send fun(self: neap.Channel, value: any): boolean  false where send would wait
---@field try_recv fun(self: neap.Channel): any, string?  or nil and "empty" or "closed"
---@field iter fun(self: neap.Channel): fun(): any  ends when it is closed and empty
---@field close fun(self: neap.Channel)  what is left can still be received
---@field is_closed fun(self: neap.Channel): boolean
---@field capacity fun(self: neap.Channel): integer?

---@alias neap.thread.Channel fun(capacity?: integer): neap.Channel  0: none is kept

--- Waits for the first that has something; nil after `timeout` seconds. A closed and empty one
--- counts, with nil as its value.
---@alias neap.thread.select async fun(list: neap.Channel[], timeout?: number): neap.Channel?, any

local last = 0

local function check_options(options, where)
  if options == nil then return {} end
  if type(options) ~= "table" then
    error(("bad argument to '%s' (table expected, got %s)"):format(where, type(options)), 3)
  end
  for key in pairs(options) do
    if key ~= "name" and key ~= "memory_limit" then
      error(("unknown option '%s' to '%s'"):format(tostring(key), where), 3)
    end
  end
  local name, limit = options.name, options.memory_limit
  if name ~= nil and type(name) ~= "string" then
    error(("bad option 'name' to '%s' (string expected, got %s)"):format(where, type(name)), 3)
  end
  if limit ~= nil and (math.type(limit) ~= "integer" or limit <= 0) then
    error(("bad option 'memory_limit' to '%s' (positive integer expected)"):format(where), 3)
  end
  return options
end

--- Starts a thread that runs an event loop until it is stopped. It ends with the loop that
--- started it, at the latest.
---@param options? { name?: string, memory_limit?: integer } memory_limit: bytes
---@return table? loop a handle: call_soon_threadsafe, stop, join, is_closed, close
---@return table? err an OSError, where the system gives no thread
function M.start_loop(options)
  options = check_options(options, "neap.thread.start_loop")
  last = last + 1
  return core.start(options.name or "loop-" .. last, options.memory_limit)
end

---@class neap.Thread
---@field name string
---@field loop table the handle of its loop
local Thread = { __name = "neap.Thread" }
Thread.__index = Thread

--- Starts a thread that calls a copy of fn with copies of the arguments. fn runs as a task
--- of the thread's loop; when it has returned, what else runs there is cancelled, and the
--- thread ends. An error that nobody joins is reported.
---@param fn function
---@return neap.Thread? thread
---@return table? err an OSError, where the system gives no thread
function M.start(fn, ...)
  if type(fn) ~= "function" then
    error(("bad argument #1 to 'start' (function expected, got %s)"):format(type(fn)), 2)
  end
  last = last + 1
  local name = "thread-" .. last
  local loop, err = core.start(name)
  if not loop then return nil, err end
  local ok, future = pcall(core.run, loop, fn, ...)
  if not ok then
    loop:stop()
    error(future, 0) -- a text has the place of the caller
  end
  return setmetatable({ name = name, loop = loop, _future = future }, Thread)
end

--- Waits until the thread has ended. Cancelling the wait leaves the thread alone.
---@async
---@return any ... what fn returned; its error is raised, with both tracebacks
function Thread:join()
  receiver(self, Thread, "join")
  check_wait "Thread:join"
  neap.wait { self._future }
  self.loop:join()
  local future = self._future
  -- Where it has called os.exit, the main chunk's loop is about to end the program.
  if not neap.current_task() and (future:cancelled() or future:exception() ~= nil) then
    neap.sleep(0)
    check_wait "Thread:join"
  end
  return future:result()
end

--- So a thread may stand where a function does that waits: neap.gather(t, u) joins both.
function Thread:__call() return self:join() end

--- Cancels fn, as task:cancel(): CancelledError is raised where it waits, and by join. fn
--- has all the time that it needs to close what it has opened; the thread ends with it.
---@param msg? string
---@return boolean cancelled false when it has ended already
function Thread:cancel(msg)
  receiver(self, Thread, "cancel")
  return self._future:cancel(msg)
end

--- Whether the thread has not ended yet.
---@return boolean
function Thread:is_alive()
  receiver(self, Thread, "is_alive")
  return core.is_alive(self.loop)
end

--- Ends the thread: cancels fn and, after `grace` seconds, interrupts Lua code that does
--- not wait. Waits until it has ended.
---@async
---@param grace? number seconds; 1 if not given
---@return boolean in_time whether it ended without being interrupted
function Thread:stop(grace)
  receiver(self, Thread, "stop")
  if grace ~= nil and (type(grace) ~= "number" or grace ~= grace or grace < 0) then
    error("bad argument #1 to 'stop' (seconds expected)", 2)
  end
  if not core.is_alive(self.loop) then return true end
  local ok, err = pcall(check_wait, "Thread:stop")
  -- A cancellation is raised further down: the thread is to end all the same.
  if not ok and type(err) == "string" then error(err, 2) end
  self._future:cancel()
  self.loop:stop()
  return require "neap.thread.ending"({ self.loop }, grace or 1)
end

--- A cancellation that the block has swallowed does not concern it, and one that comes now
--- leaves it to end the thread by itself.
function Thread:__close()
  if core.is_alive(self.loop) then neap.shield(self.stop, self) end
end

function Thread:__tostring()
  local state = core.is_alive(self.loop) and "running" or "ended"
  return ("<Thread %s %s>"):format(self.name, state)
end

return M
