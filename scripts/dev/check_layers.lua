--- check_layers.lua: the rules of architecture that can be read off the sources.
--- Prints what breaks one as FILE:LINE: text; exit code 1 if there is any.

-- Who may call what; every other file in src/ may not.
local CALLERS = {
  lua_resume = { "sched.c", "coro.c" },
  lua_yieldk = { "wait.c", "coro.c" },
  lua_pcallk = { "task.c", "coro.c", "pcall.c" },
}

-- Headers of ours that a file may include; the others may include any.
local INCLUDES = {
  ["main.c"] = { "neap.h" },
}

-- Variables at file scope that may change.
local VARIABLES = {
  -- A signal handler is given no argument of its own.
  ["main.c"] = { "interrupt" },
  ["sigint.c"] = { "owner" },
  -- Nor is one of atexit().
  ["interrupt.c"] = { "here", "once", "previous" },
  ["ttymode.c"] = { "terminals", "registered", "mutex" },
}

-- Longer files, with the reason.
local C_LINES, LUA_LINES = 600, 500
local LONG = {
  ["src/internal.h"] = "the one list of what files share",
  ["src/main.c"] = "options, chunks, prompt and exit codes share one state",
}

-- Lua modules that are wrappers of a module in C.
local WRAPPERS = {
  ["lua/neap/net/connect.lua"] = true,
  ["lua/neap/net/listen.lua"] = true,
  ["lua/neap/net/serve.lua"] = true,
  ["lua/neap/net/resolve.lua"] = true,
  ["lua/neap/net/udp.lua"] = true,
  ["lua/neap/process.lua"] = true,
  ["lua/neap/fs.lua"] = true,
  ["lua/neap/signal.lua"] = true,
  ["lua/neap/net/tls.lua"] = true,
  ["lua/neap/tty.lua"] = true,
  ["lua/neap/thread.lua"] = true,
  ["lua/neap/thread/executor.lua"] = true,
  ["lua/neap/thread/ending.lua"] = true,
  ["lua/neap/thread/cluster.lua"] = true,
  ["lua/neap/thread/thread_pool.lua"] = true,
  ["lua/neap/thread/process_child.lua"] = true,
  ["lua/neap/thread/process_pool.lua"] = true,
  ["lua/neap/thread/processors.lua"] = true,
  ["lua/neap/thread/shipping.lua"] = true,
  ["lua/neap/thread/process_worker.lua"] = true,
  ["lua/neap/test.lua"] = true,
  ["lua/neap/test/busted.lua"] = true,
  ["lua/neap/test/leftover.lua"] = true,
  ["lua/neap/test/sweep.lua"] = true,
}

local problems = 0
local function problem(path, line, fmt, ...)
  problems = problems + 1
  print(("%s:%d: %s"):format(path, line, fmt:format(...)))
end

local function files_of(command)
  local pipe <close> = assert(io.popen(command))
  local list = {}
  for path in pipe:lines() do list[#list + 1] = path end
  return list
end

local function contains(list, value)
  for _, v in ipairs(list) do
    if v == value then return true end
  end
  return false
end

local function read(path)
  local file <close> = assert(io.open(path))
  return file:read "a"
end

--- The text without comments and literals, its lines kept.
local function strip(text)
  local function blank(s) return (s:gsub("[^\n]", " ")) end
  local out, at = {}, 1
  while at <= #text do
    local two, one = text:sub(at, at + 1), text:sub(at, at)
    local stop
    if two == "/*" then
      stop = select(2, text:find("*/", at + 2, true)) or #text
    elseif two == "//" then
      stop = (text:find("\n", at, true) or #text + 1) - 1
    elseif one == '"' or one == "'" then
      stop = at + 1
      while stop <= #text and text:sub(stop, stop) ~= one do
        stop = stop + (text:sub(stop, stop) == "\\" and 2 or 1)
      end
    end
    if stop then
      out[#out + 1] = blank(text:sub(at, stop))
      at = stop + 1
    else
      out[#out + 1] = one
      at = at + 1
    end
  end
  return table.concat(out)
end

--- The text without preprocessor directives, its lines kept.
local function drop_directives(text)
  local out, directive = {}, false
  for line in text:gmatch "([^\n]*)\n" do
    directive = directive or line:match "^%s*#" ~= nil
    out[#out + 1] = directive and "" or line
    directive = directive and line:match "\\$" ~= nil
  end
  return table.concat(out, "\n") .. "\n"
end

local function lines(text)
  local n = 0
  return function()
    n = n + 1
    local line
    if text then
      line, text = text:match "^([^\n]*)\n(.*)$"
    end
    if line then return n, line end
  end
end

local function check_includes(path, name, raw)
  local allowed = INCLUDES[name]
  for number, line in lines(raw) do
    local header = line:match '^%s*#%s*include%s+"([^"]+)"'
    if header then
      if allowed and not contains(allowed, header) then
        problem(path, number, "may not include %s", header)
      elseif header:match "%.c$" then
        problem(path, number, "includes a source file")
      end
    end
  end
end

local function check_callers(path, name, code)
  for number, line in lines(code) do
    for word in line:gmatch "[%a_][%w_]*" do
      local callers = CALLERS[word]
      if callers and not contains(callers, name) then
        problem(path, number, "%s is called only in %s", word, table.concat(callers, " and "))
      end
    end
  end
end

--- A callback of libuv's, named on_*, never touches Lua. (What is given a Lua state
--- is called by Lua.)
local function check_callbacks(path, code)
  local inside
  for number, line in lines(code) do
    -- A definition begins in the first column and its body ends there.
    if line:match "^[%a_].*%f[%w_]on_[%w_]+%s*%(" and not line:match ";%s*$" and
      not line:match "%(%s*lua_State"
    then
      inside = true
    elseif line:match "^}" then
      inside = false
    elseif inside then
      local call = line:match "%f[%w_](luaL?_[%w_]+)%s*%("
      if call then problem(path, number, "%s is called in a callback (on_*)", call) end
    end
  end
end

--- The name of the variable that a declaration at file scope defines, nil where it
--- defines none or a constant. Bodies are reduced to "{}".
local function variable_of(declaration)
  local left = declaration:gsub("%b[]", ""):gsub("__attribute__%s*%b()", ""):match "^[^=]*"
  if left:match "^%s*typedef%f[^%w_]" or left:match "^%s*extern%f[^%w_]" or
    left:match "^%s*_Static_assert%f[^%w_]" or left:match "^%s*NEAP_API%f[^%w_]"
  then
    return nil
  end
  local before, after = left:match "^(.-){}(.*)$"
  local variable
  if before then
    variable = after:match "([%a_][%w_]*)%s*$" -- a type alone has nothing there
    left = before .. " " .. after
  elseif left:match "%(" then
    if left:match "%*%s*const%f[^%w_]" then return nil end
    return left:match "%(%s*%*%s*([%a_][%w_]*)" -- else a function
  elseif not left:match "^%s*[sue][trnu][%a]+%s+[%w_]+%s*$" then
    variable = left:match "([%a_][%w_]*)%s*$"
  end
  local constant = left:match "%*" and left:match "%*%s*const%f[^%w_][^*]*$" or
    not left:match "%*" and left:match "%f[%w_]const%f[^%w_]"
  return not constant and variable or nil
end

--- Definitions of variables outside functions that are not constant.
local function check_variables(path, name, code)
  local depth, start, statement = 0, nil, ""
  local number = 0
  for line in (code .. "\n"):gmatch "([^\n]*)\n" do
    number = number + 1
    for char in line:gmatch "." do
      if char == "{" then
        depth = depth + 1
        if depth == 1 then statement = statement .. "{" end
      elseif char == "}" then
        depth = depth - 1
        if depth == 0 then
          statement = statement .. "}"
          -- A function's body ends its statement; that of a type or an
          -- initializer goes on to the semicolon.
          if statement:match "%)%s*{}$" then statement = "" end
        end
      elseif depth == 0 then
        if statement == "" and not char:match "%s" then start = number end
        if char == ";" then
          local variable = variable_of(statement)
          if variable and not contains(VARIABLES[name] or {}, variable) then
            problem(path, start, "%s is a variable at file scope", variable)
          end
          statement = ""
        else
          statement = statement .. char
        end
      end
    end
    if depth == 0 then statement = statement .. " " end
    if statement:match "^%s*$" then statement = "" end
  end
end

local function check_static_locals(path, code)
  for number, line in lines(code) do
    if line:match "^%s+static%s" and not line:match "%f[%w_]const%f[^%w_]" then
      problem(path, number, "a static variable in a function")
    end
  end
end

local function check_length(path, raw, limit)
  local _, count = raw:gsub("\n", "")
  if count > limit and not LONG[path] then
    problem(path, count, "%d lines; split it, or add it to LONG with a reason", count)
  end
end

for _, path in ipairs(files_of "ls src/*.c src/*.h src/include/*.h 2>/dev/null") do
  local name = path:match "[^/]+$"
  local raw = read(path)
  local code = strip(raw)
  check_length(path, raw, C_LINES)
  check_includes(path, name, raw)
  check_callers(path, name, code)
  code = drop_directives(code)
  check_static_locals(path, code)
  if name:match "%.c$" then
    check_callbacks(path, code)
    check_variables(path, name, code)
  end
end

for _, path in ipairs(files_of "find lua -name '*.lua' 2>/dev/null | sort") do
  local raw = read(path)
  check_length(path, raw, LUA_LINES)
  if not WRAPPERS[path] then
    for number, line in lines(raw) do
      if line:match "require%s*%(?%s*[\"']neap%.core" then
        problem(path, number, "only wrappers may require neap.core")
      end
    end
  end
end

os.exit(problems == 0)
