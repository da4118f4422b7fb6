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

--- Waits for a moment and gives its arguments back. Half of the waits are futures that
--- a callback completes, the others go through the ready list.
local toggle = false
function M.pause(...)
  toggle = not toggle
  if toggle then return neap.sleep(0, ...) end
  local future = neap.Future()
  neap.get_event_loop():call_soon(future.set_result, future, ...)
  return future:await()
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

local loop, began

--- For a whole file: the clock stands still, and jumps to the next deadline when all wait.
function M.virtual_time(before_each, after_each)
  before_each(function()
    core.freeze(true)
    loop = neap.get_event_loop()
    began = loop:time()
  end)
  after_each(core.thaw)
  after_each(function()
    neap.sleep(0) -- no cancellation of the main chunk is left over
  end)
end

--- With virtual_time: seconds since the test began, or since `restart`.
function M.elapsed() return math.floor((loop:time() - began) * 1000 + 0.5) / 1000 end

function M.restart() began = loop:time() end

function M.direct(fn, ...) return fn(...) end

--- With virtual_time: runs `case(run)` twice, with `run` calling a function here, and in a
--- task.
function M.both(case)
  case(M.direct)
  M.restart()
  case(M.in_task)
end

--- With virtual_time: the error of `fn(...)` by `run`, and the time.
function M.failure(run, fn, ...) return M.catch(run, fn, ...), M.elapsed() end

--- Tasks that give their name after so many seconds: { { name, delay }, ... }
function M.sleepers(list)
  local tasks = {}
  for i, one in ipairs(list) do tasks[i] = neap.create_task(neap.sleep, one[2], one[1]) end
  return tasks
end

--- A function that fails with `value` after `delay`.
function M.failing(value, delay)
  return function()
    neap.sleep(delay or 0)
    error(value, 0)
  end
end

--- A function that waits, and gives `name` to `log` when it is cancelled.
function M.waiter(log, name)
  return function()
    local ok, err = pcall(neap.sleep, 1e6)
    log[#log + 1] = name
    if not ok then error(err, 0) end
  end
end

--- `fn(g, ...)` inside a group; gives its results.
function M.grouped(fn, ...)
  local g <close> = neap.TaskGroup()
  return fn(g, ...)
end

--- `fn(t)` inside a time-out; gives its results.
function M.within(delay, fn)
  local t <close> = neap.timeout(delay)
  return fn(t)
end

function M.is_cancelled(err) return neap.CancelledError:is(err) end

--- A value whose <close> handler calls `fn`.
function M.closing(fn) return setmetatable({}, { __close = fn }) end

--- A task that gets one item and adds it, after `name`.
function M.getter(queue, add, name)
  return neap.create_task(function() add((name or "") .. tostring(queue:get())) end)
end

--- A task that puts one item, and adds that it did.
function M.putter(queue, item, add)
  return neap.create_task(function()
    queue:put(item)
    if add then add("put " .. tostring(item)) end
  end)
end

--- All items of a queue, without waiting.
function M.drain(queue)
  local list = { n = 0 }
  while not queue:empty() do
    list.n = list.n + 1
    list[list.n] = queue:get_nowait()
  end
  return list
end

--- All that a generator gives.
function M.collect(generator)
  local list = {}
  for v in generator do list[#list + 1] = v end
  return list
end

--- A list with `add(value)`, to note the order of events in.
function M.log()
  local list = {}
  return list, function(value) list[#list + 1] = value end
end

--- What loops reported in the test that runs: `take` gives the list of the contexts.
--- neap.test.busted fails a test that does not take what was reported.
M.reports = { take = function() return require "neap.test.busted".take_reports() end }

--- How many descriptors this process has open.
function M.descriptors()
  -- libuv keeps one of its own from the first stream of a loop on.
  for _, stream in ipairs { require "neap.net".pair() } do stream:abort() end
  neap.sleep(0)
  local count, missing, n = 0, 0, 0
  while missing < 64 do
    local file = io.open("/proc/self/fdinfo/" .. n)
    if file then
      file:close()
      count, missing = count + 1, 0
    else
      missing = missing + 1
    end
    n = n + 1
  end
  return count
end

--- Waits until there are no more descriptors than `before`, those of garbage collected.
--- Fails after some seconds.
function M.await_descriptors(before)
  for try = 1, 4000 do
    if M.descriptors() <= before then return end
    if try % 50 == 1 then collectgarbage() end
    neap.sleep(0.005)
  end
  error(("%d descriptors are open, there were %d"):format(M.descriptors(), before), 2)
end

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
  local _, kind, code = os.execute(("cd %s && %s timeout 110 %s main.lua >out 2>err"
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
