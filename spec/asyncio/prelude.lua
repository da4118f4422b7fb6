--- Runs the Lua side of the pairs; run.py is the other side and says what a program is.

local neap = require "neap"
local core = require "neap.core.test"

local M = {}

local function show(value)
  if type(value) == "number" then
    local rounded = math.floor(value * 1e6 + 0.5) / 1e6
    return ("%g"):format(rounded)
  elseif type(value) == "userdata" then
    local text = tostring(value)
    if text:find "^<Task" then return value:get_name() end
    if text:find "^<Future" then return "future" end
  elseif neap.ExceptionGroup:is(value) then
    return ("%s: %s %s"):format(value.name, value.message, show(value.errors))
  elseif type(value) == "table" and not neap.Error:is(value) then
    local list = {}
    for i = 1, value.n or #value do list[i] = show(value[i]) end
    return "[" .. table.concat(list, ", ") .. "]"
  end
  return tostring(value)
end

--- The name of an error's class. Strings are what RuntimeError is in Python.
local function kind(err)
  if type(err) == "string" then return "RuntimeError" end
  return err.name
end

local function sorted(list)
  local names = {}
  for i, value in ipairs(list) do names[i] = show(value) end
  table.sort(names)
  return names
end

local function turns(count)
  for _ = 1, count do neap.sleep(0) end
end

--- A guard for what Python has in `finally`: fn(err) is called at the end of the block.
local function finally(fn)
  return setmetatable({}, { __close = function(_, err) fn(err) end })
end

local function environment(log, loop)
  local start = loop:time()
  return setmetatable({
    neap = neap,
    loop = loop,
    start = start,
    log = log,
    kind = kind,
    sorted = sorted,
    turns = turns,
    finally = finally,
    now = function() return loop:time() - start end,
  }, { __index = _G })
end

--- The trace of the program in the file `path`. `outside`: no loop runs it.
function M.run(path, outside)
  local lines = {}
  local function log(...)
    local list = table.pack(...)
    for i = 1, list.n do list[i] = show(list[i]) end
    lines[#lines + 1] = table.concat(list, " ") .. "\n"
  end
  local function main()
    local loop = neap.get_event_loop()
    loop:set_exception_handler(function(_, context)
      log("report", context.message, context.exception)
    end)
    assert(loadfile(path, "t", environment(log, loop)))()
  end
  core.freeze(true)
  local _thaw <close> = finally(core.thaw)
  local ok, err
  if outside then
    local loop <close> = neap.new_event_loop()
    neap.set_event_loop(loop)
    ok, err = pcall(main)
    neap.set_event_loop(nil)
  else
    ok, err = pcall(neap.run, main)
  end
  if not ok then log("main raised", err) end
  return table.concat(lines)
end

return M
