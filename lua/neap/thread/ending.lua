--- The end of threads that may be stuck.

local neap = require "neap"
local core = require "neap.core.thread"

local INSIST = 0.02 -- seconds between two interrupts

--- Waits until the threads of these loops, which were told to end, have done so. After
--- `grace` seconds Lua code that still runs there is interrupted.
---@async
---@return boolean in_time whether none was interrupted
return function(loops, grace)
  local joins = {}
  local _end <close> = setmetatable({}, { __close = function()
    for _, join in ipairs(joins) do join:cancel() end
  end })
  for i, loop in ipairs(loops) do joins[i] = neap.create_task(loop.join, loop) end
  local in_time = true
  local limit = grace
  while #joins > 0 do
    local _, pending = neap.wait(joins, { timeout = limit })
    if not pending[1] then break end
    in_time, limit = false, INSIST
    for i, loop in ipairs(loops) do
      if not joins[i]:done() then core.interrupt(loop) end
    end
  end
  for _, join in ipairs(joins) do join:result() end -- or why it could not be waited for
  return in_time
end
