--- Thread pools: the Lua side of src/pool.c.

local neap = require "neap"
local core = require "neap.core.pool"
local end_threads = require "neap.thread.ending"
local executor = require "neap.thread.executor"
local processors = require "neap.thread.processors"
local receiver = require "neap.receiver"

local NAME = "neap.thread.ThreadPoolExecutor"
local PATIENCE = 1 -- seconds that cancelled jobs get when the block has failed

local SPEC = { workers = "count", name = "text", memory_limit = "count" }

local Pool = { __name = NAME }
Pool.__index = Pool

--- Schedules fn(...) to be called in one of the threads, as a task of its loop. The Future
--- belongs to the running (or current) loop. Cancelling it takes the call out of the queue;
--- one that has begun is cancelled where it waits.
---
--- What fn has in its upvalues, and the arguments, are copied. A thread keeps the function,
--- as long as its upvalues do not change here; what it keeps in them there lives on in that
--- thread.
---@param fn function
---@param ... any
---@return userdata future  its results; or its error, with the traceback from there
function Pool:submit(fn, ...)
  receiver(self, Pool, "submit")
  if self._shut then error(executor.after_shutdown(), 2) end
  executor.check_function(fn, 1, "submit", 2)
  local future = core.submit(self._pool, fn, ...)
  self._futures[future] = true
  return future
end

executor.add_map(Pool)

--- No more jobs are taken. What is queued is still done, unless it is cancelled. Waits for
--- all of that and the end of the threads, unless told not to.
---@async
---@param wait? boolean
---@param options? { cancel_futures?: boolean } cancels what has not started
function Pool:shutdown(wait, options)
  receiver(self, Pool, "shutdown")
  local cancel
  wait, cancel = executor.check_shutdown(wait, options, "shutdown", 2)
  self._shut = true
  core.close(self._pool, cancel)
  if not wait then return end
  for _, loop in ipairs(core.workers(self._pool)) do loop:join() end
end

--- Ends what runs: cancels it, and interrupts jobs that do not mind. Waits.
local function abandon(pool)
  for future in pairs(pool._futures) do future:cancel() end
  pool:shutdown(false, { cancel_futures = true })
  neap.shield(end_threads, core.workers(pool._pool), PATIENCE)
end

--- The end of a block: shutdown(true). Where an error has left the block, or a cancellation
--- ends the wait, what is queued or running is cancelled.
---@async
function Pool:__close(err)
  if err ~= nil then return abandon(self) end
  local _rest <close> = setmetatable({}, { __close = function(_, failure)
    if failure ~= nil then abandon(self) end
  end })
  self:shutdown(true)
end

function Pool:__tostring()
  local queued, alive = core.state(self._pool)
  return ("<ThreadPoolExecutor%s, %d of %d workers, %d jobs queued>"):format(
    self._shut and " shut down" or "", alive, self._size, queued)
end

local M = {}

local last = 0

---@class neap.thread.ThreadPoolOptions
---@field workers integer?       how many threads there may be; min(32, processors + 4)
---@field name string?           what the names of the threads begin with
---@field memory_limit integer?  bytes that the Lua state of each thread may have

--- An executor whose calls run in other threads. They are started when there is work for
--- them, and end with shutdown, with the executor when it is garbage, or with the loop that
--- started them.
---@param options? integer|neap.thread.ThreadPoolOptions  or how many workers
---@return table executor  submit, map, shutdown, and for <close>
function M.ThreadPoolExecutor(options)
  options = executor.check_size(options, SPEC, NAME, 2)
  last = last + 1
  local size = options.workers or math.min(32, processors() + 4)
  return setmetatable({
    _size = size,
    _pool = core.new(size, options.name or "pool-" .. last, options.memory_limit),
    _futures = setmetatable({}, { __mode = "k" }),
    _shut = false,
  }, Pool)
end

--- neap.to_thread: the Future of fn(...), in a thread of the loop's own executor.
function M.begin(fn, ...)
  executor.check_function(fn, 1, "to_thread", 2)
  return executor.default(neap.get_event_loop()):submit(fn, ...)
end

return M
