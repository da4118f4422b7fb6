--- What the specs share.

local neap = require "neap"
local core = require "neap.core.test"

local M = {}

M.host = os.getenv "NEAP_HOST"
if not M.host then
  for _, path in ipairs { "build/debug/neap", "build/neap" } do
    local file = io.open(path, "rb")
    if file then
      file:close()
      M.host = path
      break
    end
  end
end

--- A big number of tasks; smaller where each park costs a full collection, or where the
--- specs are run many times.
function M.many(n)
  if os.getenv "NEAP_GC_STRESS" then return math.max(n // 500, 10) end
  return os.getenv "SEED" and math.max(n // 50, 10) or n
end

--- Lets every task go on until it waits for something that is not just a turn.
function M.settle(turns)
  for _ = 1, turns or 8 do neap.sleep(0) end
end

--- The error that `fn(...)` raises. Fails when it raises none.
function M.catch(fn, ...)
  local ok, err = pcall(fn, ...)
  if ok then error("an error was expected, none was raised", 2) end
  return err
end

--- A task that has run as far as it can: those made so one after the other come to their
--- waits in this order, also where what is ready is shuffled.
function M.start(fn, ...)
  local task = neap.create_task(fn, ...)
  core.settle()
  return task
end

--- Runs `fn(...)` in a task and gives its results back, or raises its error.
function M.in_task(fn, ...)
  return neap.create_task(fn, ...):await()
end

--- The error that `fn(...)` raises in a task of its own.
function M.catch_in_task(fn, ...)
  local task = neap.create_task(fn, ...)
  return M.catch(task.await, task)
end

--- A list with `add(value)`, to note the order of events in.
function M.log()
  local list = {}
  return list, function(value) list[#list + 1] = value end
end

--- What loops reported in the test that runs: `take` gives the list of the contexts.
--- neap.test.busted fails a test that does not take what was reported.
M.reports = { take = function() return require "neap.test.busted".take_reports() end }

--- For specs from before neap.test.busted, which watches over every test now.
function M.guard() return M.reports end

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function content(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

--- Runs the host on a script (its text) in a folder of its own, where the script is
--- called `main.lua`. Gives { out, err, code }. opts.files: further files by name;
--- opts.env: what stands before the command, "NAME=value ...".
function M.run(script, opts)
  opts = opts or {}
  local pipe <close> = assert(io.popen "mktemp -d")
  local dir = pipe:read "l"
  local files = { ["main.lua"] = script }
  for name, text in pairs(opts.files or {}) do files[name] = text end
  for name, text in pairs(files) do
    local file <close> = assert(io.open(dir .. "/" .. name, "wb"))
    file:write(text)
  end
  local host = M.host
  if host:sub(1, 1) ~= "/" then host = os.getenv "PWD" .. "/" .. host end
  local _, kind, code = os.execute(("cd %s && %s timeout 60 %s main.lua >out 2>err"
    .. " </dev/null"):format(quote(dir), opts.env or "", quote(host)))
  local result = {
    out = content(dir .. "/out"),
    err = content(dir .. "/err"),
    code = kind == "signal" and 128 + code or code,
  }
  os.execute("rm -rf " .. quote(dir))
  return result
end

return M
