--- neap.test: a kit to test programs that are built on neap. Time that jumps, another
--- order of what is ready, steps across tasks.

require "neap" -- the core is there from here on, in stock Lua as well
local core = require "neap.core.test"
local receiver = require "neap.receiver"

local M = {}

local function bad(level, n, name, what, value)
  local got = math.type(value) == "float" and value ~= value and "NaN" or type(value)
  error(("bad argument #%d to '%s' (%s expected, got %s)"):format(n, name, what, got), level + 1)
end

-- ---- virtual time --------------------------------------------------------------

--- A clock that stands in for the real one. There is at most one at a time.
local Clock = {}
Clock.__index = Clock
Clock.__name = "neap.test.Clock"

local LATEST = 5000000000000000000 -- ns: what is armed then is a number still

local current -- the clock in place, or nil
local ambient -- the one that neap.test.busted put there, which others may stand in for

--- Replaces the clock of all loops. It stands still while a task runs and jumps to the
--- next deadline as soon as every task waits and neither I/O nor a thread is under way:
--- an hour of sleeps takes milliseconds.
---
--- A deadline that was armed before keeps the time that it had to go, and so does one
--- that is left at close(): loop:time() never goes back.
---@param opts { autojump: boolean? }?  autojump = false: time moves by advance() alone
function M.clock(opts)
  if opts ~= nil and type(opts) ~= "table" then bad(2, 1, "neap.test.clock", "table", opts) end
  local autojump = opts and opts.autojump
  if autojump == nil then autojump = true end
  if type(autojump) ~= "boolean" then
    error("bad option 'autojump' to 'neap.test.clock' (boolean expected, got "
      .. type(autojump) .. ")", 2)
  end
  if core.frozen() and (ambient == nil or current ~= ambient) then
    error("a virtual clock is in place already: there is one at a time "
      .. "(neap.test.current_clock() is it; close it before making another)", 2)
  end
  core.freeze(autojump)
  current = setmetatable({ _start = core.now(), _autojump = autojump }, Clock)
  return current
end

--- For neap.test.busted: a clock that M.clock() may replace for a while.
function M._ambient_clock()
  ambient = M.clock()
  return ambient
end

--- The clock in place, or nil.
function M.current_clock() return current end

local function check_clock(clock, name)
  if getmetatable(clock) ~= Clock then bad(3, 1, name, "Clock", clock) end
  if clock._end then error("the clock is closed", 3) end
end

--- Moves time on by `seconds`, through each deadline on the way, in order: at each it
--- waits until all that follows from it has happened and every task waits again. Awaits.
---@async
---@param seconds number  0 or more
function Clock:advance(seconds)
  check_clock(self, "Clock:advance")
  if type(seconds) ~= "number" or seconds ~= seconds or seconds < 0 then
    if type(seconds) == "number" and seconds < 0 then
      error("bad argument #1 to 'Clock:advance' (time does not go back)", 2)
    end
    bad(2, 1, "Clock:advance", "seconds", seconds)
  end
  core.settle() -- what is ready now belongs to the present
  local target = math.min(core.now() + math.ceil(math.min(seconds, 4e9) * 1e9), LATEST)
  while core.step(target) do
    core.settle()
    if self._end then error("the clock was closed while it was moved on", 2) end
  end
end

--- Seconds since the clock was made.
function Clock:time()
  receiver(self, Clock, "time")
  return ((self._end or core.now()) - self._start) / 1e9
end

--- Back to real time, from where the clock stands. A second call does nothing.
function Clock:close()
  receiver(self, Clock, "close")
  if self._end then return end
  self._end = core.now()
  if self == ambient then ambient = nil end
  current = ambient
  if current then
    core.freeze(true)
  else
    core.thaw()
  end
end

Clock.__close = Clock.close

function Clock:__tostring()
  return ("<Clock %s%g s>"):format(self._end and "closed after " or "", self:time())
end

-- ---- settling and order ----------------------------------------------------------

--- Waits until every other task waits for something that is not ready, a deadline for
--- instance. Time does not jump meanwhile. Awaits.
---@async
M.settle = core.settle

--- An order of what is ready, in force until it is closed.
local Shuffle = {}
Shuffle.__index = Shuffle
Shuffle.__name = "neap.test.Shuffle"

local order -- the one in force

--- From the next turn on, the tasks that are ready run in another order, which the seed
--- decides: the same seed gives the same run. nil: first come, first served. close()
--- goes back to what was before. The reports of errors name the seed meanwhile.
---@param seed integer?
function M.shuffle(seed)
  if seed ~= nil and math.type(seed) ~= "integer" then
    bad(2, 1, "neap.test.shuffle", "integer", seed)
  end
  local state, old = core.order()
  core.shuffle(seed)
  order = setmetatable({ seed = seed, _state = state, _old = old, _outer = order }, Shuffle)
  return order
end

--- Back to what was before. A second call does nothing.
function Shuffle:close()
  receiver(self, Shuffle, "close")
  if self._closed then return end
  self._closed = true
  while order and order._closed do -- one that was closed out of turn waits for this
    core.set_order(order._state, order._old)
    order = order._outer
  end
end

function Shuffle:__close(err)
  if err ~= nil and self.seed and not self._closed then
    core.log(("neap.test: an error left the block that ran with seed %d "
      .. "(neap.test.shuffle(%d) replays it)\n"):format(self.seed, self.seed))
  end
  self:close()
end

function Shuffle:__tostring()
  return ("<Shuffle seed=%s%s>"):format(self.seed, self._closed and " closed" or "")
end

-- ---- steps ---------------------------------------------------------------------

--- Numbered steps, each taken once, whichever task takes it.
local Sequence = {}
Sequence.__index = Sequence
Sequence.__name = "neap.test.Sequence"

local function gate_of(seq, n)
  local gate = seq._gates[n]
  if gate == nil then
    gate = core.gate(n == 1 and "step 1 of " .. seq._name
      or ("step %d of %s, after step %d"):format(n, seq._name, n - 1))
    if n == 1 then gate:open() end
    seq._gates[n] = gate
  end
  return gate
end

local function wait_for_turn(seq, n, name)
  if math.type(n) ~= "integer" or n < 1 then
    if math.type(n) == "integer" then
      error(("bad argument #1 to '%s' (steps are numbered from 1, got %d)"):format(name, n), 3)
    end
    bad(3, 1, name, "integer", n)
  end
  if seq._taken[n] then
    error(("step %d of %s was taken already, at %s"):format(n, seq._name, seq._taken[n]), 3)
  end
  local info = debug.getinfo(3, "Sl")
  seq._taken[n] = info and ("%s:%d"):format(info.short_src, info.currentline) or "?"
  -- A task that is cancelled while it waits has not taken the step.
  local _undo <close> = setmetatable({}, { __close = function(_, err)
    if err ~= nil then seq._taken[n] = nil end
  end })
  gate_of(seq, n):wait()
end

--- A sequence of steps: seq(1), seq(2) and so on, in any tasks, happen in that order.
function M.sequence()
  local info = debug.getinfo(2, "Sl")
  return setmetatable({
    _name = info and ("the neap.test.sequence of %s:%d"):format(info.short_src,
      info.currentline) or "a neap.test.sequence",
    _gates = {},
    _taken = {}, -- step -> where
  }, Sequence)
end

--- seq(n): waits until the steps before were taken, and takes this one: what follows
--- it, up to the task's next wait, happens before the step after it. Awaits. Raises when
--- the step was taken before; where one is missing in the end, DeadlockError says which.
---@async
---@param n integer
function Sequence:__call(n)
  wait_for_turn(self, n, "sequence")
  gate_of(self, n + 1):open()
end

--- A step that lasts: `local _step <close> = seq:step(n)` waits as seq(n) does, and the
--- steps after it wait for the end of the block. Awaits.
---@async
---@param n integer
function Sequence:step(n)
  wait_for_turn(self, n, "Sequence:step")
  local gate = gate_of(self, n + 1)
  return setmetatable({}, { __close = function() gate:open() end })
end

function Sequence:__tostring() return "<" .. self._name .. ">" end

-- ---- cancel sweeps ---------------------------------------------------------------

--- Cancels `fn` at each of its waits: see neap.test.sweep. Awaits.
---@async
---@param fn fun(sweep: table)
---@param opts table?
function M.cancel_sweep(fn, opts)
  return require "neap.test.sweep"(fn, opts)
end

return M
