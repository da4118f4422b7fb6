--- What a piece of a program left behind in its loops: tasks, callbacks, deadlines,
--- handles of libuv, loops. For neap.test's own use.

local neap = require "neap"
local core = require "neap.core.test"

local M = {}

-- How often a task is asked to end before it is closed by force.
local TRIES = 20

local function set_of(list)
  local set = {}
  for _, value in ipairs(list) do set[value] = true end
  return set
end

--- What there is now, to be compared with.
function M.snapshot()
  neap.get_event_loop() -- makes it where there is none
  return {
    tasks = set_of(core.tasks()),
    handles = set_of(core.handles()),
    deadlines = core.deadlines(),
    blocks = core.blocks(),
    uv_handles = core.uv_handles(),
    loops = core.loops(),
  }
end

--- The tasks and Handles that have come since.
local function news(list, old)
  local new = {}
  for _, value in ipairs(list) do
    if not old[value] then new[#new + 1] = value end
  end
  return new
end

local function add(lines, what, list)
  for _, value in ipairs(list) do lines[#lines + 1] = what .. tostring(value) end
end

--- One line for each thing that has come since and is still there.
---@return string[]
function M.since(snapshot)
  local lines = {}
  add(lines, "a task: ", news(core.tasks(), snapshot.tasks))
  local timers, callbacks = {}, {}
  for _, handle in ipairs(news(core.handles(), snapshot.handles)) do
    local signal = core.signal_of(handle)
    if signal then
      lines[#lines + 1] = ("a handler of %s: %s"):format(signal, tostring(handle))
    else
      local list = handle:when() and timers or callbacks
      list[#list + 1] = handle
    end
  end
  add(lines, "a timer: ", timers)
  add(lines, "a callback: ", callbacks)
  local open = core.open_blocks(snapshot.blocks)
  add(lines, "a time-out that was not closed, made at ", open)
  local more = core.deadlines() - snapshot.deadlines - #open
  if more > 0 then
    lines[#lines + 1] = more == 1 and "a deadline" or more .. " deadlines"
  end
  for address, kind in pairs(core.uv_handles()) do
    if snapshot.uv_handles[address] ~= kind then
      lines[#lines + 1] = ("a handle of libuv: %s (%s)"):format(kind, tostring(address))
    end
  end
  for loop in pairs(core.loops()) do
    if not snapshot.loops[loop] then lines[#lines + 1] = "a loop: " .. tostring(loop) end
  end
  return lines
end

--- Ends what has come since, as far as it can be ended: tasks are cancelled, and closed
--- by force when they do not end, timers are cancelled, loops closed. Awaits.
---@async
function M.clean(snapshot)
  local running = neap.current_task()
  for try = 1, TRIES do
    local left = false
    for _, task in ipairs(news(core.tasks(), snapshot.tasks)) do
      if task ~= running then
        left = true
        if try == TRIES then
          core.destroy(task)
        else
          task:cancel()
        end
      end
    end
    for _, handle in ipairs(news(core.handles(), snapshot.handles)) do
      if not (core.drop_signal(handle) or core.drop_poll(handle)) then handle:cancel() end
    end
    if not left then break end
    for _ = 1, 4 do neap.sleep(0) end
  end
  for loop in pairs(core.loops()) do
    if not snapshot.loops[loop] and not loop:is_running() then loop:close() end
  end
end

return M
