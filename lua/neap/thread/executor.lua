--- What the two kinds of executors share: the checks of what they are given, map, and
--- loop:run_in_executor.
---
--- An executor has submit(fn, ...), which gives a Future of the running (or current) loop,
--- map(fn, list, options), shutdown(wait, options) and __close.

local neap = require "neap"
local receiver = require "neap.receiver"
local check_wait = require "neap.core.worker".check_wait

local M = {}

-- ---- arguments -----------------------------------------------------------------------

local function bad_option(name, where, expected, got)
  return ("bad option '%s' to '%s' (%s expected, got %s)"):format(name, where, expected, got)
end

--- How a value that is not as it should be is told.
local function told(value)
  return type(value) == "number" and tostring(value) or type(value)
end

local KINDS = {
  count = function(value) return math.type(value) == "integer" and value >= 1 end,
  seconds = function(value) return type(value) == "number" and value >= 0 end,
  boolean = function(value) return type(value) == "boolean" end,
  text = function(value) return type(value) == "string" end,
  table = function(value) return type(value) == "table" end,
}
local NAMES = {
  count = "integer of 1 or more", seconds = "seconds, 0 or more", boolean = "boolean",
  text = "string", table = "table",
}

--- The options as a table; `spec` has their kinds by name. Raises for others.
function M.check_options(options, spec, arg, where, level)
  if options == nil then return {} end
  level = level + 1 -- that of this function
  if type(options) ~= "table" then
    error(("bad argument #%d to '%s' (table expected, got %s)"):format(arg, where,
      type(options)), level)
  end
  for name, value in pairs(options) do
    local kind = spec[name]
    if not kind then
      error(("unknown option '%s' to '%s'"):format(tostring(name), where), level)
    elseif not KINDS[kind](value) then
      error(bad_option(name, where, NAMES[kind], told(value)), level)
    end
  end
  return options
end

--- The argument of a constructor: a number of workers, or options with `workers`.
function M.check_size(value, spec, where, level)
  if value == nil then return {} end
  if type(value) == "table" then
    local options = M.check_options(value, spec, 1, where, level + 1)
    return options -- no tail call: levels are counted
  end
  if not KINDS.count(value) then
    error(("bad argument #1 to '%s' (%s or table expected, got %s)"):format(where,
      NAMES.count, told(value)), level + 1)
  end
  return { workers = value }
end

--- Raises unless `fn` can be called.
function M.check_function(fn, arg, where, level)
  if type(fn) == "function" then return end
  local meta = getmetatable(fn)
  if type(meta) == "table" and meta.__call then return end
  error(("bad argument #%d to '%s' (function expected, got %s)"):format(arg, where, type(fn)),
    level + 1)
end

local SHUTDOWN = { cancel_futures = "boolean" }

--- The arguments of shutdown.
---@return boolean wait
---@return boolean cancel_futures
function M.check_shutdown(wait, options, where, level)
  if wait ~= nil and type(wait) ~= "boolean" then
    error(("bad argument #1 to '%s' (boolean expected, got %s)"):format(where, type(wait)),
      level + 1)
  end
  options = M.check_options(options, SHUTDOWN, 2, where, level + 1)
  if wait ~= false then check_wait(where) end
  return wait ~= false, options.cancel_futures or false
end

--- What submit raises from the shutdown on.
function M.after_shutdown() return neap.Error "cannot schedule new futures after shutdown" end

-- ---- map -----------------------------------------------------------------------------

--- The results of a map: called, it waits for the next one.
local Map = { __name = "neap.thread.Map" }
Map.__index = Map

local MAP_OPTIONS = { in_flight = "count", timeout = "seconds", chunk = "count" }

--- Nobody waits for it any more: it is cancelled, or its error counts as seen.
local function drop(future)
  if not future:cancel() and not future:cancelled() then future:exception() end
end

--- Cancels what has not been given yet. A second call does nothing.
function Map:close()
  local futures, feeder = self._futures, self._feeder
  self._ended, self._futures, self._slots, self._feeder = true, {}, {}, nil
  self._items, self._given = { n = 0 }, {}
  for future in pairs(futures) do drop(future) end
  if feeder and feeder ~= neap.current_task() then feeder:cancel() end
  self._changed:set()
end

Map.__close = Map.close

--- What workers call in place of `fn` where several items go out together.
local function chunked(fn)
  return function(items)
    local results = { n = items.n }
    for i = 1, items.n do
      results[i] = table.pack(fn(table.unpack(items[i], 1, items[i].n)))
    end
    return results
  end
end

--- Hands one call over to the executor. What goes wrong is raised when its turn has come.
local function hand_over(self, ...)
  local ok, future = neap.pcall(self._executor.submit, self._executor, self._fn, ...)
  if not ok then
    self._ended, self._failure = true, { future }
  else
    self._last = self._last + 1
    self._slots[self._last], self._futures[future] = future, true
    self._flying = self._flying + 1
  end
  self._changed:set()
end

--- Hands over the items that wait for others.
local function hand_over_chunk(self)
  local items = self._items
  if items.n == 0 then return end
  self._items = { n = 0 }
  hand_over(self, items)
end

local function submit(self, ...)
  if self._chunk == 1 then return hand_over(self, ...) end
  local items = self._items
  items.n = items.n + 1
  items[items.n] = table.pack(...)
  if items.n >= self._chunk then hand_over_chunk(self) end
end

--- There are no more items.
local function at_end(self)
  if self._chunk > 1 then hand_over_chunk(self) end
  self._ended = true
  self._changed:set()
end

--- Of a list: as many as there is room for.
local function fill(self)
  local list = self._list
  while list and not self._ended and self._flying < self._limit do
    self._item = self._item + 1
    if self._item > self._count then
      at_end(self)
    else
      submit(self, list[self._item])
    end
  end
end

--- Submits what the iterator gave; false at its end.
local function feed_one(self, ok, first, ...)
  if self._ended then return false end
  if ok and first ~= nil then
    submit(self, first, ...)
    return not self._ended
  end
  if not ok then self._failure = { first } end
  at_end(self)
  return false
end

--- The task that calls the iterator, which may wait.
local function feed(self, iterator)
  local _end <close> = self._at_end
  repeat
    while self._flying >= self._limit and not self._ended do
      self._room:clear()
      self._room:wait()
    end
  until self._ended or not feed_one(self, neap.pcall(iterator))
end

--- The next of the Futures in order, or nil at the end.
local function next_slot(self)
  while true do
    local future = self._slots[self._first]
    if future then
      self._slots[self._first] = nil
      self._first = self._first + 1
      return future
    elseif self._ended then
      return nil
    end
    self._changed:clear()
    self._changed:wait()
  end
end

--- It has been given: there is room for another one.
local function given(self, future)
  if not self._futures[future] then return end
  self._futures[future] = nil
  self._flying = self._flying - 1
  self._room:set()
  fill(self)
end

--- A loop would end at a nil.
local function results(first, ...)
  if first == nil then return false, ... end
  return first, ...
end

--- The results of the next item of the chunks that have come.
local function next_of_chunk(self)
  local chunk = self._given[1]
  local at = (chunk.at or 0) + 1
  chunk.at = at
  if at == chunk.n then table.remove(self._given, 1) end
  return table.unpack(chunk[at], 1, chunk[at].n)
end

--- The results of the next call, in the order of the list; its error is raised, and the
--- rest cancelled. nil at the end. Waits. A first result that is nil comes as false.
---@async
function Map:__call()
  if self._given[1] then return results(next_of_chunk(self)) end
  local _rest <close> = self._guard
  local _limit <close> = self._deadline and neap.timeout_at(self._deadline)
  local future = next_slot(self)
  if future then
    if not future:done() then neap.wait { future } end
    given(self, future)
    if self._chunk == 1 then return results(future:await()) end
    table.insert(self._given, future:await())
    return results(next_of_chunk(self))
  end
  local failure = self._failure
  if failure then
    self._failure = nil
    error(failure[1], 0)
  end
  return nil
end

function Map:__tostring()
  return ("<Map of %s, %d in flight>"):format(self._executor, self._flying)
end

--- executor:map, which ends with a call of this. `size`: how many workers it has.
function M.map(executor, size, fn, source, options, where)
  M.check_function(fn, 1, where, 2)
  if type(source) ~= "table" or (getmetatable(source) or {}).__call then
    if type(source) ~= "function" and not (getmetatable(source) or {}).__call then
      error(("bad argument #2 to '%s' (list or iterator expected, got %s)"):format(where,
        type(source)), 2)
    end
  end
  options = M.check_options(options, MAP_OPTIONS, 3, where, 2)
  local chunk = options.chunk or 1
  local self = setmetatable({
    _executor = executor,
    _fn = chunk > 1 and chunked(fn) or fn,
    _chunk = chunk,
    _items = { n = 0 },  -- that wait for others
    _given = {},         -- the results of chunks that have come and were not all taken
    -- In chunks, as all that is counted.
    _limit = options.in_flight and math.max(options.in_flight // chunk, 1) or 2 * size,
    _deadline = options.timeout and neap.get_event_loop():time() + options.timeout,
    _slots = {},      -- first to last: Futures that nobody has asked for yet
    _first = 1,
    _last = 0,
    _futures = {},    -- all that have not been given
    _flying = 0,      -- how many these are
    _ended = false,   -- nothing more will be submitted
    _changed = neap.Event(),
    _room = neap.Event(),
  }, Map)
  self._guard = setmetatable({}, { __close = function(_, err)
    if err ~= nil then self:close() end
  end })
  if type(source) == "table" and not (getmetatable(source) or {}).__call then
    self._list, self._item, self._count = source, 0, source.n or #source
    fill(self)
  else
    self._at_end = setmetatable({}, { __close = function()
      self._ended = true
      self._changed:set()
    end })
    self._feeder = neap.create_task(feed, self, source)
  end
  return self, nil, nil, self
end

--- Gives a class of executors, whose objects have submit and _size, its method map.
function M.add_map(class)
  --- Calls fn with each item of a list, or with what an iterator gives, as submit does: an
  --- iterator over the results, in order. Taking one waits. So many calls at most are under
  --- way or have results that were not taken. The error of a call is raised in its place,
  --- and then, as when the loop is left early, all that is left is cancelled.
  ---@param fn function
  ---@param source table|function  a list (of n items, if it has such a field), or an iterator
  ---@param options? { in_flight?: integer, timeout?: number, chunk?: integer } in_flight: twice
  ---the number of workers (or of those times `chunk`) if not given; timeout: seconds from now
  ---until the last result; chunk: how many items go out together, 1 if not given
  ---@return function results
  function class:map(fn, source, options)
    receiver(self, class, "map")
    return M.map(self, self._size, fn, source, options, "map")
  end
end

-- ---- loop:run_in_executor ----------------------------------------------------------------

local defaults = setmetatable({}, { __mode = "k" }) -- Loop -> its own ThreadPoolExecutor

--- The executor of a loop for those who name none: min(32, processors + 4) threads, as
--- CPython has it, made when it is used first.
function M.default(loop)
  local executor = defaults[loop]
  if not executor then
    local processors = require "neap.thread.processors"
    executor = require "neap.thread".ThreadPoolExecutor(math.min(32, processors() + 4))
    defaults[loop] = executor
  end
  return executor
end

--- loop:run_in_executor(executor, fn, ...): executor:submit(fn, ...), where nil stands for
--- the loop's own.
function M.run_in_executor(loop, executor, fn, ...)
  local where = "run_in_executor"
  M.check_function(fn, 2, where, 3) -- the method itself is C
  if loop ~= neap.get_event_loop() then
    error("loop:run_in_executor was called on another event loop than the running one", 3)
  end
  if executor == nil then executor = M.default(loop) end
  local ok, submit_to = pcall(function() return executor.submit end)
  if not ok or not submit_to then
    error(("bad argument #1 to '%s' (executor expected, got %s)"):format(where,
      type(executor)), 3)
  end
  return submit_to(executor, fn, ...)
end

return M
