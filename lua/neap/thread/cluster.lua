--- neap.thread.cluster: one function in several threads, until they have ended, one of them
--- fails, or a signal says that it is enough.
---
--- Each thread has a task here that waits for its end, and one more waits for signals. The
--- caller waits for the first of them to be done, again and again.

local neap = require "neap"
local signal = require "neap.signal"
local thread = require "neap.thread"
local finish = require "neap.core.thread".finish
local executor = require "neap.thread.executor"
local processors = require "neap.thread.processors"

local NAME = "neap.thread.cluster"
local GRACE = 10  -- seconds that the threads get to end
local FORCE = 0.2 -- seconds for code that does not wait, once they are forced to

local SPEC = { threads = "count", grace = "seconds" }

--- thread.start; where something cannot cross, the error counts our arguments.
local function start(fn, ...)
  local ok, one, err = neap.pcall(thread.start, fn, ...)
  if ok then return one, err end
  if type(one) == "string" then one = one:gsub("argument 1", "argument 2", 1) end
  error(one, 0)
end

local function join(one)
  one.loop:join() -- what became of its function is looked at later
end

local function hear(signals) return (signals:wait()) end

local function no_signals(cluster)
  cluster.signals:close()
  cluster.heard:cancel()
end

--- Waits until something has happened, at most until `deadline`. The signal that came, if
--- any.
local function wait_change(cluster, deadline)
  local list = { cluster.heard }
  for _, task in pairs(cluster.joins) do list[#list + 1] = task end
  local timeout = deadline and math.max(deadline - cluster.loop:time(), 0)
  neap.wait(list, { return_when = "first_completed", timeout = timeout })
  for i, task in pairs(cluster.joins) do
    if task:done() then cluster.joins[i] = nil end
  end
  if not cluster.heard:done() or cluster.signals:is_closed() then return nil end
  local name = cluster.heard:result()
  cluster.heard = neap.create_task(hear, cluster.signals)
  return name
end

--- The first thread whose function has failed, or nil.
local function failed(cluster)
  for _, one in ipairs(cluster.threads) do
    local future = one._future
    if future:done() and not future:cancelled() and future:exception() ~= nil then return one end
  end
  return nil
end

--- Until all have ended, one has failed, or a signal came, which is returned.
local function watch(cluster)
  while next(cluster.joins) do
    local name = wait_change(cluster)
    cluster.failed = failed(cluster)
    if name or cluster.failed then return name end
  end
  return nil
end

--- Ends all that is left: first in order, and after the grace, or at a signal, by force.
--- From then on signals do again what they did before, so that who waits for a thread that
--- cannot be ended can be interrupted.
local function stop(cluster)
  if cluster.forced then return end
  if not cluster.stopping then
    cluster.stopping = cluster.loop:time() + cluster.grace
    for _, one in ipairs(cluster.threads) do finish(one._future) end
  end
  while next(cluster.joins) and cluster.loop:time() < cluster.stopping do
    if wait_change(cluster, cluster.stopping) then break end
  end
  cluster.forced = true
  no_signals(cluster)
  local stops = {}
  for i in pairs(cluster.joins) do
    local one = cluster.threads[i]
    stops[#stops + 1] = neap.create_task(one.stop, one, FORCE)
  end
  if stops[1] then neap.gather(stops) end
end

--- However the block is left, no thread and no task is.
local function leave(cluster)
  local _tasks <close> = setmetatable({}, { __close = function()
    no_signals(cluster)
    for _, task in pairs(cluster.joins) do task:cancel() end
    for _, one in ipairs(cluster.threads) do
      one:cancel()
      one.loop:stop()
    end
  end })
  stop(cluster)
end

--- Raises the error of that thread. Those of others that say the same need not be told
--- again; what else failed is reported.
local function raise(cluster, first)
  local text = tostring(first._future:exception())
  for _, one in ipairs(cluster.threads) do
    local future = one._future
    if one ~= first and future:done() and not future:cancelled() then
      local err = future:exception()
      if err ~= nil and tostring(err) ~= text then
        neap.wait { neap.create_task(one.join, one) } -- whose error nobody looks at
      end
    end
  end
  return first:join()
end

local function results(cluster)
  local list = { n = #cluster.threads }
  for i, one in ipairs(cluster.threads) do
    if not one._future:cancelled() then list[i] = one._future:result() end
  end
  return list
end

--- The number of threads, and the grace.
local function check(n)
  if n ~= nil and type(n) ~= "table" and not (math.type(n) == "integer" and n >= 1) then
    error(("bad argument #1 to '%s' (integer of 1 or more or table expected, got %s)"):format(
      NAME, type(n) == "number" and tostring(n) or type(n)), 3)
  end
  local options = type(n) == "table" and executor.check_options(n, SPEC, 1, NAME, 3)
    or { threads = n }
  return options.threads or processors(), options.grace or GRACE
end

local M = {}

---@class neap.thread.ClusterOptions
---@field threads integer?  how many; the number of processors if not given
---@field grace number?     seconds that the threads get to end; 10 if not given

--- Calls fn(i, ...) in n threads, i from 1 to n, and waits until all have ended.
---
--- SIGINT and SIGTERM end them meanwhile: fn is cancelled where it waits, and its `<close>`
--- variables have the grace to close in order. Past it, or at a second signal, Lua code that
--- does not wait is interrupted. The same happens to the others when one fails, and to all
--- when the caller is cancelled.
---@async
---@param n? integer|neap.thread.ClusterOptions  how many; the number of processors
---@param fn fun(i: integer, ...): any  copied to each thread, like the arguments
---@param ... any
---@return string? how  "done" when all have returned, or the signal: "SIGINT" or "SIGTERM"
---@return table results  the first result of each (of those that have returned), with n; or
---  an OSError, where the system gives no thread. The error of fn is raised, with its
---  traceback
function M.cluster(n, fn, ...)
  local count, grace = check(n)
  if type(fn) ~= "function" then -- what can be called only is refused as by thread.start
    error(("bad argument #2 to '%s' (function expected, got %s)"):format(NAME, type(fn)), 2)
  end
  local signals = signal.listen("SIGINT", "SIGTERM")
  local cluster = {
    loop = neap.get_event_loop(),
    grace = grace,
    signals = signals,
    heard = neap.create_task(hear, signals),
    threads = {},
    joins = {}, -- i -> the task that waits for its end, as long as it does
  }
  local how
  do
    local _leave <close> = setmetatable({}, { __close = function() leave(cluster) end })
    for i = 1, count do
      local one, err = start(fn, i, ...)
      if not one then return nil, err end
      cluster.threads[i] = one
      cluster.joins[i] = neap.create_task(join, one)
    end
    how = watch(cluster)
  end
  local first = cluster.failed or failed(cluster)
  if first then raise(cluster, first) end
  return how or "done", results(cluster)
end

return M
