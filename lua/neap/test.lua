--- neap.test: a kit to test programs that are built on neap. Time that jumps, another
--- order of what is ready, steps across tasks.

require "neap" -- the core is there from here on, in stock Lua as well
local core = require "neap.core.test"

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

local current -- the clock in place, or nil

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
  if core.frozen() then
    error("a virtual clock is in place already: there is one at a time "
      .. "(neap.test.current_clock() is it; close it before making another)", 2)
  end
  core.freeze(autojump)
  current = setmetatable({ _start = core.now(), _autojump = autojump }, Clock)
  return current
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
  local target = core.now() + math.ceil(math.min(seconds, 4e9) * 1e9)
  while core.step(target) do
    core.settle()
    if self._end then error("the clock was closed while it was moved on", 2) end
  end
end

--- Seconds since the clock was made.
function Clock:time()
  return ((self._end or core.now()) - self._start) / 1e9
end

--- Back to real time, from where the clock stands. A second call does nothing.
function Clock:close()
  if self._end then return end
  self._end = core.now()
  current = nil
  core.thaw()
end

Clock.__close = Clock.close

function Clock:__tostring()
  return ("<Clock %s%g s>"):format(self._end and "closed after " or "", self:time())
end

-- ---- settling ------------------------------------------------------------------

--- Waits until every other task waits for something that is not ready, a deadline for
--- instance. Time does not jump meanwhile. Awaits.
---@async
M.settle = core.settle

return M
