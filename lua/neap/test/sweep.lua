--- neap.test.cancel_sweep: a function is run again and again in a task of its own, which
--- is cancelled at its first wait, at its second, and so on, until a run ends before its
--- turn has come: once at the moment when the task parks, and once when it was woken but
--- did not run yet, which is where things get lost. After each run nothing of it may be
--- left: no task, timer or handle, no lock held, no unit of a semaphore taken.

local neap = require "neap"
local core = require "neap.core.test"
local leftover = require "neap.test.leftover"

local LIMIT = 3600 -- virtual seconds for a run
local MAX_WAITS = 1000

local sweeping = false -- the watch and the notes are one sweep's

--- What the function is given.
local Sweep = {}
Sweep.__index = Sweep
Sweep.__name = "neap.test.Sweep"

--- Has `object` looked at after the run: check(object) must be true then; without a
--- check, object:locked() must be false. Gives the object back.
---@param object any
---@param check (fun(object: any): boolean)?
function Sweep:track(object, check)
  if check == nil then
    local ok, locked = pcall(function() return object.locked end)
    if not ok or type(locked) ~= "function" then
      error("bad argument #1 to 'Sweep:track' (an object with locked() expected, or a "
        .. "check as argument #2)", 2)
    end
    check = function(o) return not o:locked() end
  elseif type(check) ~= "function" then
    error(("bad argument #2 to 'Sweep:track' (function expected, got %s)"):format(type(check)), 2)
  end
  self._tracked[#self._tracked + 1] = { object, check }
  return object
end

local function option(opts, name, default, valid)
  local value = opts and opts[name]
  if value == nil then return default end
  if not valid(value) then
    error(("bad option '%s' to 'neap.test.cancel_sweep'"):format(name), 4)
  end
  return value
end

local function one_of(...)
  local allowed = {}
  for _, name in ipairs { ... } do allowed[name] = true end
  return function(value) return allowed[value] end
end

local function positive(value) return type(value) == "number" and value > 0 end

local function check_arguments(fn, opts)
  if type(fn) ~= "function" then
    error(("bad argument #1 to 'neap.test.cancel_sweep' (function expected, got %s)")
      :format(type(fn)), 3)
  end
  if opts ~= nil and type(opts) ~= "table" then
    error(("bad argument #2 to 'neap.test.cancel_sweep' (table expected, got %s)")
      :format(type(opts)), 3)
  end
  return {
    outcome = option(opts, "outcome", "cancelled", one_of("cancelled", "any")),
    at = option(opts, "at", "both", one_of("park", "wake", "both")),
    limit = option(opts, "limit", LIMIT, positive),
    max_waits = option(opts, "max_waits", MAX_WAITS, positive),
  }
end

--- What is still held of the objects that the run made or had tracked.
local function held(made, sweep)
  local lines = {}
  for _, entry in ipairs(made) do
    local text = tostring(entry.object)
    if text ~= entry.text then
      lines[#lines + 1] = ("%s, which was %s when it was made%s"):format(text, entry.text,
        entry.where and " at " .. entry.where or "")
    end
  end
  for _, entry in ipairs(sweep._tracked) do
    if not entry[2](entry[1]) then
      lines[#lines + 1] = tostring(entry[1]) .. ", which was tracked"
    end
  end
  return lines
end

--- What is wrong with how the task ended; nil: nothing.
local function bad_end(task, hit, outcome)
  if not task:done() then
    return "it did not end: " .. tostring(task)
  elseif task:cancelled() then
    if not hit then return "it ended as cancelled, which nobody did" end
  elseif hit and outcome == "cancelled" then
    local err = task:exception()
    return err == nil and "it swallowed the cancellation and returned"
      or "it ended with another error: " .. tostring(err)
  else
    task:exception() -- it counts as looked at
  end
end

--- One run. Gives the number of the task's waits, whether it was cancelled, and what is
--- wrong, or nil.
local function run(fn, opts, k, on_wake)
  local snapshot = leftover.snapshot()
  local sweep = setmetatable({ _tracked = {} }, Sweep)
  core.note(true)
  local task = neap.create_task(fn, sweep)
  core.watch(task, k, on_wake)
  neap.wait({ task }, { timeout = opts.limit })
  core.settle()
  local waits, name, where = core.watched()
  core.watch(nil)
  local made = core.note(false)
  local hit = name ~= nil

  local lines = {}
  local problem = bad_end(task, hit, opts.outcome)
  if problem then lines[1] = problem end
  for _, line in ipairs(held(made, sweep)) do lines[#lines + 1] = "left held: " .. line end
  for _, line in ipairs(leftover.since(snapshot)) do
    if not line:find(tostring(task), 1, true) then lines[#lines + 1] = "left behind: " .. line end
  end
  if lines[1] == nil then
    if not hit and not task:cancelled() and task:exception() ~= nil then
      error(task:exception(), 0) -- without a cancellation
    end
    return waits, hit
  end
  leftover.clean(snapshot)
  local how = hit
    and ("when it was cancelled %s wait %d, '%s'%s"):format(on_wake and "after being woken in"
      or "in", k, name, where and " at " .. where or "")
    or "without a cancellation"
  return waits, hit, ("cancel_sweep, %s:\n  %s"):format(how, table.concat(lines, "\n  "))
end

local function sweep(fn, opts, on_wake)
  local k = 1
  while true do
    local waits, hit, problem = run(fn, opts, k, on_wake)
    if problem then error(problem, 0) end
    if not hit then return k - 1 end
    if waits > opts.max_waits then
      error(("cancel_sweep: it waits more than %d times"):format(opts.max_waits), 0)
    end
    k = k + 1
  end
end

--- Time jumps while the sweep goes on, whatever it did before.
local function jumping_time()
  local test = require "neap.test"
  if not core.frozen() then return test.clock() end
  local clock = test.current_clock()
  core.freeze(true)
  return setmetatable({}, { __close = function()
    if clock and not clock._autojump then core.freeze(false) end
  end })
end

--- cancel_sweep(fn, opts) -> the number of waits at which fn was cancelled. opts.outcome =
--- "any": a run that was cancelled may end as it likes; opts.at = "park" or "wake": one of
--- the two moments; opts.limit: virtual seconds after which a run is stuck; opts.max_waits.
---@async
return function(fn, opts)
  opts = check_arguments(fn, opts)
  if sweeping then error("a cancel sweep is under way already: there is one at a time", 3) end
  sweeping = true
  local _sweep <close> = setmetatable({}, { __close = function() sweeping = false end })
  local _clock <close> = jumping_time()
  local waits = 0
  if opts.at ~= "wake" then waits = sweep(fn, opts, false) end
  if opts.at ~= "park" then waits = sweep(fn, opts, true) end
  return waits
end
