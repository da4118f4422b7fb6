--- neap.signal: waiting for signals of the process, and sending them.
---
--- Signals are named ("SIGTERM") or numbered (15, signal.SIGTERM). Where one comes back it is
--- by its name, or by its number where it has none.

require "neap" -- the core is there from here on, in stock Lua as well
local core = require "neap.core.signal"

---@alias neap.Signal string|integer

---@class neap.SignalListener
---@operator call(): string|integer|nil, integer? the next signal; nil when it is closed
---@field wait fun(self): (string|integer)?, integer|neap.OSError a signal and how often it
---  came since it was given last; nil and an error when it is closed meanwhile. Awaits
---@field close fun(self) stops to listen; may be called again
---@field is_closed fun(self): boolean

---@class neap.signal
---@field listen fun(signal: neap.Signal, ...: neap.Signal): neap.SignalListener hears these
---  signals from now on, until close(). Raises for those that cannot be caught
---@field send fun(pid: integer, signal: neap.Signal): true?, neap.OSError? as kill(2): 0 as
---  the signal only tells whether the process is there
---@field raise fun(signal: neap.Signal) sends it to this very process
---@field name fun(number: integer): string? the name of a signal
---@field number fun(name: neap.Signal): integer
local M = core

local wait_once = core.wait_once
core.wait_once = nil

--- Waits for the first of the signals to come. Awaits. What the process does about them
--- otherwise (end, KeyboardInterrupt) is out of force meanwhile, and back afterwards: for
--- more than one, `listen` misses none in between.
---@async
---@param ... neap.Signal  at least one
---@return string|integer signal  the one that came
function M.wait(...)
  local ok, listener = pcall(M.listen, ...)
  if not ok then
    if type(listener) ~= "string" then error(listener, 0) end
    error(listener:gsub("'[^']*'", "'neap.signal.wait'", 1), 2)
  end
  local _listener <close> = listener
  return (wait_once(listener))
end

return M
