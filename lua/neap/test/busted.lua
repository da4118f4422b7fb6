--- neap.test.busted: a helper of busted's, `busted --helper=neap.test.busted`.
---
--- Each test has a time-out, in real time, and fails when it leaves tasks, timers or
--- handles behind or when its loop reports an error that nobody dealt with. What it left
--- is ended before the next one begins. Tags in the name of a test or of a `describe`:
---
---     #clock    time is virtual (neap.test.clock)
---     #ordered  SEED does not shuffle
---
--- Environment: SEED=n shuffles what is ready (neap.test.shuffle), from the same seed in
--- each test; NEAP_TEST_CLOCK=1 makes time virtual in all; NEAP_TEST_TIMEOUT is the
--- time-out in seconds, 10 if not given.

local neap = require "neap"
local core = require "neap.core.test"
local test = require "neap.test"
local leftover = require "neap.test.leftover"
local busted = require "busted"

local M = {}

local function number_of(name, parse)
  local text = os.getenv(name)
  if text == nil or text == "" then return nil end
  local value = parse(text)
  if not value then error(("%s=%s is no number"):format(name, text), 0) end
  return value
end

local seed = number_of("SEED", math.tointeger)
local timeout = number_of("NEAP_TEST_TIMEOUT", tonumber) or 10
local all_virtual = os.getenv "NEAP_TEST_CLOCK" == "1"

local reports = {} -- contexts that the loop reported
local describing -- the innermost describe that has begun
local now = {} -- the test that runs: snapshot, clock, order, element, ...

--- The errors that loops reported since the test began, or since the last call: a test
--- that expects some takes them, the others fail it.
---@return table[] contexts as exception handlers get them
function M.take_reports()
  local taken = table.move(reports, 1, #reports, 1, {})
  for i = #reports, 1, -1 do reports[i] = nil end
  return taken
end

--- A new time-out for the test that runs, from now on.
---@param seconds number
function M.set_timeout(seconds)
  core.watchdog(seconds)
end

local function has_tag(element, tag)
  while element do
    if type(element.name) == "string" and (element.name .. " "):find(tag .. "[^%w_]") then
      return true
    end
    element = busted.parent(element)
  end
  return false
end

local function take_handler()
  now.loop:set_exception_handler(function(_, context) reports[#reports + 1] = context end)
end

--- The clock and the order that the tags ask for.
local function arrange(element)
  if not now.clock and (all_virtual or has_tag(element, "#clock")) and not core.frozen() then
    now.clock = test._ambient_clock()
  end
  local shuffled = seed ~= nil and not has_tag(element, "#ordered")
  if shuffled ~= (now.order ~= nil) then
    if now.order then
      now.order:close()
      now.order = nil
    else
      now.order = test.shuffle(seed)
    end
  end
end

local function ask_tasks()
  for _ = 1, 4 do neap.sleep(0) end -- those that end by themselves may
end

--- What is wrong with how the test left things; nil: nothing.
local function problem()
  ask_tasks()
  if now.loop:is_closed() or neap.get_event_loop() ~= now.loop then
    return "the test left another event loop in place"
  end
  if core.lost() then -- by something that is garbage, perhaps
    collectgarbage()
    collectgarbage()
    ask_tasks()
  end
  local list = leftover.since(now.snapshot)
  if list[1] then return "the test left behind:\n  " .. table.concat(list, "\n  ") end
  if test.current_clock() ~= now.clock then return "the test left its virtual clock in place" end
  if reports[1] then
    local lines = {}
    for i, context in ipairs(reports) do
      lines[i] = ("%s: %s%s"):format(context.message, context.exception or "",
        context.traceback and "\n" .. context.traceback or "")
    end
    M.take_reports()
    return "the loop reported:\n" .. table.concat(lines, "\n")
  end
end

local function message(element, text)
  local trace = element.trace
  return trace and ("%s:%d: %s"):format(trace.short_src, trace.currentline, text) or text
end

--- Whether something is to run after the body that may clean up.
local function cleans_up(element)
  if now.has_finally then return true end
  local parent = busted.parent(element)
  while busted.parent(parent) do -- ours is in the outermost
    if parent.after_each and parent.after_each[1] then return true end
    parent = busted.parent(parent)
  end
  return false
end

local function begin()
  now = { loop = neap.get_event_loop() } -- makes it where there is none
  now.snapshot = leftover.snapshot()
  M.take_reports()
  core.watchdog(timeout)
  take_handler()
  arrange(describing)
end

--- Ends what the test left, so that the next one is not disturbed.
local function restore()
  core.watchdog(timeout) -- it may have been spent
  local clock = test.current_clock()
  while clock and clock ~= now.clock do
    clock:close()
    clock = test.current_clock()
  end
  if now.loop:is_closed() then
    neap.set_event_loop(nil)
  else
    neap.set_event_loop(now.loop)
  end
  core.leave(now.snapshot.blocks) -- before anything waits again
  leftover.clean(now.snapshot)
  if now.clock then now.clock:close() end
  if now.order then now.order:close() end
  if core.lost() then collectgarbage() end -- what it reports is the present test's
  M.take_reports()
  if not now.loop:is_closed() then now.loop:set_exception_handler(nil) end
  core.watchdog(nil)
end

busted.subscribe({ "describe", "start" }, function(element)
  describing = element
  return nil, true
end)

busted.subscribe({ "describe", "end" }, function(element, parent)
  describing = parent or busted.parent(element)
  return nil, true
end)

busted.subscribe({ "file", "start" }, function(element)
  describing = element
  return nil, true
end)

busted.before_each(function() begin() end)

busted.subscribe({ "test", "start" }, function(element)
  if element.descriptor ~= "it" then return nil, true end -- pending
  now.element = element
  local run = element.run
  local finally = element.env.finally
  element.env.finally = function(...)
    now.has_finally = true
    return finally(...)
  end
  arrange(element)
  now.run = run
  function element.run(...)
    run(...)
    if cleans_up(element) then
      now.look_later = true
    else
      local text = problem()
      if text then busted.fail(message(element, text), 0) end
    end
  end
  return nil, true
end)

busted.subscribe({ "test", "end" }, function(element, _, status)
  if now.run then element.run = now.run end
  if status ~= "success" then now.look_later = false end
  return nil, true
end)

busted.after_each(function()
  local text = now.look_later and problem()
  local element = now.element
  restore()
  if text then
    busted.publish({ "error", "it" }, element, busted.parent(element), message(element, text),
      element.trace)
  end
end)

-- The output names the seed of the group where a test fails.
local function show_seed(_, parent)
  if now.order and parent and parent.randomseed == nil then
    now.named = parent
    parent.randomseed = ("%d (SEED=%d replays it)"):format(seed, seed)
  end
  return nil, true
end

local function hide_seed()
  if now.named then now.named.randomseed = nil end
  return nil, true
end

for _, kind in ipairs { "failure", "error" } do
  busted.subscribe({ kind, "it" }, show_seed, { priority = 1 })
  busted.subscribe({ kind, "it" }, hide_seed)
end

return M
