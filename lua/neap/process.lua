--- Child processes.

local neap = require "neap"
local core = require "neap.core.process"

local M = {}

---@class neap.Process
---@field pid integer
---@field stdin neap.Stream?   where it was "pipe": what is written goes to the child
---@field stdout neap.Stream?  where it was "pipe": what the child writes
---@field stderr neap.Stream?  where it was "pipe"
---@field wait fun(self): integer?, string?  waits: the exit code, or nil and "SIGTERM"
---@field kill fun(self, signal?: string|integer): true?, neap.Error?  SIGTERM by default
---@field is_running fun(self): boolean
---@field close fun(self)  waits: closes the streams and ends the child

---@class neap.process.Options
---@field [integer] string|number  the program, and its arguments
---@field cwd string?              the directory it starts in
---@field env table<string, string|number>?  all of its environment
---@field env_extra table<string, string|number|false>?  changes to it; false: without that one
---@field stdin any       "inherit" (default), "pipe", "null", a stream, a file, a descriptor
---@field stdout any      the same
---@field stderr any      the same, and "stdout": where stdout goes
---@field group boolean?  signals and close() are for all of its process group, a new one
---@field detached boolean?  lives on when it is closed and when the program ends
---@field grace number?   seconds from SIGTERM to SIGKILL when it is ended; 2

local SESSION, DETACHED = 1, 2 -- as in child.c
local GRACE = 2

local OPTIONS = {
  cwd = "string", env = "table", env_extra = "table", stdin = true, stdout = true,
  stderr = true, group = "boolean", detached = "boolean", grace = "number",
}
local RUN_OPTIONS = {
  input = "string", check = "boolean", timeout = "number", max_output = "number",
}

local function bad_option(name, where, expected, got)
  return ("bad option '%s' to '%s' (%s expected, got %s)"):format(name, where, expected, got)
end

--- How a string is told that has zeros inside, or a value of another type.
local function told(value)
  return type(value) == "string" and "one with zeros" or type(value)
end

--- A string that a C program can take.
local function is_text(value)
  return type(value) == "number" or type(value) == "string" and not value:find "\0"
end

local function check_options(options, where, more)
  if type(options) ~= "table" then
    error(("bad argument #1 to '%s' (table expected, got %s)"):format(where, type(options)), 3)
  end
  for name, value in pairs(options) do
    local kind = OPTIONS[name] or more and more[name]
    if kind == nil and math.type(name) ~= "integer" then
      error(("unknown option '%s' to '%s'"):format(tostring(name), where), 3)
    elseif type(kind) == "string" and type(value) ~= kind then
      error(bad_option(name, where, kind, type(value)), 3)
    end
  end
  for _, name in ipairs { "grace", "timeout", "max_output" } do
    local value = options[name]
    if value and (value < 0 or value ~= value) then
      error(bad_option(name, where, "0 or more", tostring(value)), 3)
    end
  end
  if options.cwd and options.cwd:find "\0" then
    error(bad_option("cwd", where, "string", told(options.cwd)), 3)
  end
end

--- The program and its arguments.
local function command(options, where)
  local list, n = {}, #options
  if n == 0 then error(("no program is given to '%s'"):format(where), 4) end
  for i = 1, n do
    if not is_text(options[i]) then
      error(bad_option(i, where, "string", told(options[i])), 4)
    end
    list[i] = tostring(options[i])
  end
  return list
end

local function set_variables(into, variables, option, where)
  for name, value in pairs(variables) do
    if type(name) ~= "string" or name == "" or name:find "[=\0]" then
      error(("bad option '%s' to '%s' (no name of a variable: %s)")
        :format(option, where, type(name) == "string" and ("%q"):format(name) or type(name)), 5)
    elseif value == false and option == "env_extra" then
      into[name] = nil
    elseif is_text(value) then
      into[name] = tostring(value)
    else
      error(bad_option(option .. "." .. name, where, "string", told(value)), 5)
    end
  end
end

--- The list of "NAME=value", or nil: as it is here.
local function environment(options, where)
  if not options.env and not options.env_extra then return nil end
  local variables, list = {}, {}
  if options.env then
    set_variables(variables, options.env, "env", where)
  else
    for _, line in ipairs(core.environment()) do
      local name, value = line:match "^(.[^=]*)=(.*)$"
      if name then variables[name] = value end
    end
  end
  if options.env_extra then set_variables(variables, options.env_extra, "env_extra", where) end
  for name, value in pairs(variables) do list[#list + 1] = name .. "=" .. value end
  table.sort(list)
  return list
end

local function is_descriptor(value)
  return math.type(value) == "integer" and value >= 0 and value < 2 ^ 31
end

--- What the core takes for one of the three, and the stream that the child takes over.
local function stdio(name, value, where)
  if value == nil or value == "inherit" then
    return name == "stdin" and 0 or name == "stdout" and 1 or 2
  elseif value == "pipe" or value == "null" or (value == "stdout" and name == "stderr") then
    return value
  elseif is_descriptor(value) then
    return value
  elseif type(value) == "userdata" or type(value) == "table" then
    local fd, taken = core.descriptor(value)
    if taken and not fd then
      error(("bad option '%s' to '%s' (%s)"):format(name, where, taken), 4)
    elseif not fd then
      local ok, method = pcall(function() return value.fileno end)
      if ok and type(method) == "function" then fd = method(value) end
    end
    if is_descriptor(fd) then return fd, taken and value or nil end
  end
  error(bad_option(name, where, ("\"inherit\", \"pipe\", \"null\", %sstream, file or descriptor")
    :format(name == "stderr" and "\"stdout\", " or ""),
    type(value) == "string" and ("%q"):format(value) or type(value)), 4)
end

local function start(options, where, stdin, stdout, stderr)
  local list, env = command(options, where), environment(options, where)
  local input, takes_input = stdio("stdin", stdin, where)
  local output, takes_output = stdio("stdout", stdout, where)
  local errors, takes_errors = stdio("stderr", stderr, where)
  local flags = (options.group and SESSION or 0) | (options.detached and DETACHED or 0)
  local process, err = core.spawn(list, env, options.cwd, flags, input, output, errors,
    options.grace or GRACE)
  if not process then return nil, err end
  if takes_input then takes_input:close() end
  if takes_output then takes_output:close() end
  if takes_errors then takes_errors:close() end
  return process
end

--- Starts a program: `spawn { "sort", "-n", stdin = "pipe", stdout = "pipe" }`. It is looked
--- for on PATH; no shell is involved. A stream that is given to it is closed here.
---
--- The child runs until it ends by itself, until close(), or until its event loop is
--- closed, and not longer unless it is `detached`.
---@param options neap.process.Options
---@return neap.Process? process
---@return neap.Error? err  an OSError: no such program, no right to run it, no such directory
function M.spawn(options)
  check_options(options, "neap.process.spawn")
  local process, err = start(options, "neap.process.spawn", options.stdin, options.stdout,
    options.stderr)
  if not process then return nil, err end
  return process
end

---@class neap.process.Result
---@field code integer?   its exit code
---@field signal string?  the signal that ended it, then there is no code
---@field stdout string?  what it wrote, where that was "pipe"
---@field stderr string?

--- Whatever of it the child does not want to read is left.
local function feed(stream, input)
  stream:write(input)
  stream:close()
end

--- All that comes, into result[name]; past the limit the child is ended.
local function collect(process, name, result, limit)
  local stream = process[name]
  if not limit then
    local data, err = stream:read "a"
    result[name], result.err = data or "", result.err or err
    return
  end
  local parts, size = {}, 0
  while size <= limit do
    local data, err = stream:read_some(65536)
    if not data then
      result.err = result.err or err
      break
    end
    parts[#parts + 1], size = data, size + #data
  end
  result[name] = table.concat(parts)
  if size > limit then
    result.err = result.err or neap.LimitOverrunError(
      ("the process wrote more than %d bytes to %s"):format(limit // 1, name))
    process:kill "SIGKILL"
    for _, other in ipairs { "stdin", "stdout", "stderr" } do
      if process[other] then process[other]:close() end
    end
  end
end

local function communicate(process, options, result)
  local group <close> = neap.TaskGroup()
  if options.input then group:create_task(feed, process.stdin, options.input) end
  for _, name in ipairs { "stdout", "stderr" } do
    if process[name] then
      group:create_task(collect, process, name, result, options.max_output)
    end
  end
  result.code, result.signal = process:wait()
end

--- The last line that is not blank, or "". Looks at the end only: there may be a lot.
local function last_line(text)
  local stop = #text
  while stop > 0 and text:find("^%s", stop) do stop = stop - 1 end
  local newline = stop
  while newline > 0 and text:byte(newline) ~= 10 do newline = newline - 1 end
  return text:sub(newline + 1, stop)
end

--- The error of `check`: how it ended, and the last line that it wrote to stderr.
local function failure(result, program)
  local how = result.code and ("exited with code %d"):format(result.code)
    or ("was ended by %s"):format(result.signal)
  local last = last_line(result.stderr or "")
  local err = neap.Error(("'%s' %s%s"):format(program, how, last ~= "" and ": " .. last or ""))
  err.op, err.result = "run", result
  return err
end

---@class neap.process.RunOptions: neap.process.Options
---@field input string?        goes to its standard input
---@field check boolean?       an exit code other than 0, or a signal, is an error
---@field timeout number?      seconds
---@field max_output number?   bytes of stdout, and of stderr; more is an error

--- Runs a program to its end: `run { "sort", input = text }`. Waits. Without `input` its
--- standard input is empty; stdout and stderr are kept, unless they go elsewhere. It is
--- ended when the task is cancelled, and when the time is over.
---
--- With `check` the error has the `result` too. Raises TimeoutError once it has ended.
---@async
---@param options neap.process.RunOptions
---@return neap.process.Result? result
---@return neap.Error? err  an OSError: it could not be started; LimitOverrunError: too much
---output; with `check` an Error: it failed
function M.run(options)
  local where = "neap.process.run"
  check_options(options, where, RUN_OPTIONS)
  if options.input and options.stdin then
    error(("options 'input' and 'stdin' to '%s' exclude each other"):format(where), 2)
  elseif options.detached then
    error(("option 'detached' has no meaning for '%s'"):format(where), 2)
  elseif options.stdin == "pipe" then
    error(("bad option 'stdin' to '%s' (use 'input')"):format(where), 2)
  end
  core.check_wait(where)
  local process, err = start(options, where, options.input and "pipe" or options.stdin or "null",
    options.stdout or "pipe", options.stderr or "pipe")
  if not process then return nil, err end
  local _process <close> = process
  local _timeout <close> = options.timeout and neap.timeout(options.timeout) or nil
  local result = {}
  communicate(process, options, result)
  if result.err then
    err = result.err
    err.result, result.err = result, nil
    return nil, err
  end
  if options.check and result.code ~= 0 then return nil, failure(result, options[1]) end
  return result
end

return M
