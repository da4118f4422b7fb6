--- The end of a program whose threads are at something: the exit code is right, what is
--- written is to the point, and it does not take long.

local neap = require "neap"
local process = require "neap.process"
local helper = require "spec.helper"

-- What a thread is at. `log`: what is written about it. What uses `go` has said that it has
-- begun.
local STATES = {
  sleeps = { [[begin(function() go:send(1); neap.sleep(1000) end)]] },
  computes = { [[begin(function() go:send(1); while true do end end)]], log = "destroyed" },
  ["is in a program"] = {
    [[begin(function() go:send(1); os.execute "exec sleep 100" end)]], log = "left behind",
  },
  ["reads standard input"] = {
    [[begin(function() go:send(1); while true do io.read "a" end end)]], log = "destroyed",
  },
  ["waits for a channel"] = {
    [[begin(function() go:send(1); require "neap.thread".Channel():recv() end)]],
  },
  ["has a <close> that is stuck"] = { [[
    begin(function()
      local _ <close> = setmetatable({}, { __close = function() while true do end end })
      go:send(1)
      neap.Future():await()
    end)]], log = "destroyed" },
  ["has a finalizer that is stuck"] = { [[
    begin(function()
      setmetatable({}, { __gc = function() go:send(1); while true do end end })
      collectgarbage()
    end)]], log = "left behind" },
  ["has threads of its own"] = { [[
    begin(function()
      local thread = require "neap.thread"
      for i = 1, 3 do
        thread.start(function()
          local inner = thread.start(function() go:send(1); neap.sleep(1000) end)
          inner:join()
        end)
      end
      neap.sleep(1000)
    end)
    go:recv() go:recv()]] },
  ["has a thread that computes"] = { [[
    begin(function()
      local thread = require "neap.thread"
      thread.start(function() go:send(1); while true do end end):join()
    end)]], log = "destroyed" },
  ["is one of a pool with a queue"] = { [[
    pool = thread.ThreadPoolExecutor(2)
    for i = 1, 20 do
      pool:submit(function() go:try_send(1); neap.sleep(1000) end)
    end]] },
  ["has jobs here, as there are here"] = { [[
    local home = neap.get_event_loop()
    loop = thread.start_loop()
    neap.run_coroutine_threadsafe(function()
      for i = 1, 3 do
        neap.run_coroutine_threadsafe(function() go:send(1); neap.sleep(1000) end, home)
      end
      neap.sleep(1000)
    end, loop)
    go:recv() go:recv()
    neap.run_coroutine_threadsafe(neap.sleep, loop, 1000)]] },
}

-- How the program ends. `stock`: the exit code of lua5.4.
local ENDS = {
  ["neap.run ends"] = { 0, "", stock = 0, run = true },
  ["an error"] = { 1, "error 'boom'", stock = 1, log = "boom" },
  ["os.exit"] = { 5, "os.exit(5)", stock = 5 },
  ["os.exit that closes"] = { 6, "os.exit(6, true)", stock = 6 },
  ["os.exit in a task"] = { 7, "neap.create_task(os.exit, 7) neap.sleep(100)" },
  SIGTERM = {
    signal = true, 143, "kill('TERM') neap.sleep(100)", stock = 143 },
  SIGINT = {
    signal = true, 130, "kill('INT') neap.sleep(100)", stock = 1, log = "nterrupt",
  },
  ["SIGINT in a thread's time"] = {
    signal = true, 130, "kill('INT') while true do end", stock = 1, log = "nterrupt",
  },
}

local SCRIPT = [[
local neap = require "neap"
local thread = require "neap.thread"
local go = thread.Channel()
local function begin(fn) t = thread.start(fn) end
local function kill(name) -- io.popen would wait for who reads standard input
  require "neap.process".run { "sh", "-c", "kill -" .. name .. " $PPID" }
end
local function main()
  %s
  go:recv()
  %s
end
%s
]]

--- Runs one, all at once: how it ended, and what it wrote.
local function run(state, ending, ...)
  local path, log = os.tmpname(), os.tmpname()
  do
    local file <close> = assert(io.open(path, "w"))
    file:write(SCRIPT:format(state[1], ending[2], ending.run and "neap.run(main)" or "main()"))
  end
  local out <close> = assert(io.open(log, "w"))
  local command = { ... }
  command[#command + 1] = path
  command.stdin, command.stdout, command.stderr, command.group = "pipe", out, "stdout", true
  local began = neap.get_event_loop():time()
  local p = assert(process.spawn(command)) -- its standard input never ends
  local ok, code, signal = neap.pcall(function()
    local _ <close> = neap.timeout(50)
    return p:wait()
  end)
  local took = neap.get_event_loop():time() - began
  p:kill "SIGKILL" -- and what it has started
  p:close()
  os.remove(path)
  local file <close> = assert(io.open(log))
  local text = file:read "a"
  os.remove(log)
  if not ok then return "no end", text, took end
  return code or signal == "SIGTERM" and 143 or signal, text, took
end

local function wrong(state, ending, quiet, want, code, text, took)
  if code ~= want then return ("gave %s\n%s"):format(code, text) end
  if took > 20 then return ("took %.1f s\n%s"):format(took, text) end
  if text:find "Sanitizer" then return text end
  if state.log == "left behind" and not quiet and not text:find "left behind" then
    return "said nothing\n" .. text
  end
  local _, lines = text:gsub("[^\n]*\n", "")
  if text ~= "" and not (state.log and text:find(state.log))
    and not (ending.log and text:find(ending.log)) or lines > 30
  then
    return "said\n" .. text
  end
end

--- quiet: what is left behind need not be reported.
local function case(command, choose, quiet)
  local tasks = {}
  for what, state in pairs(STATES) do
    for how, ending in pairs(ENDS) do
      local want = choose(ending)
      if want then
        tasks[#tasks + 1] = function()
          local text = wrong(state, ending, quiet, want,
            run(state, ending, table.unpack(command)))
          return text and ("%s while a thread %s: %s"):format(how, what, text)
        end
      end
    end
  end
  local slots, failures = neap.Semaphore(16), {}
  local group <close> = neap.TaskGroup()
  for _, task in ipairs(tasks) do
    group:create_task(function()
      local text
      do
        slots:acquire()
        local _ <close> = setmetatable({}, { __close = function() slots:release() end })
        text = task()
      end
      failures[#failures + 1] = text
    end)
  end
  group:close()
  assert.equal("", table.concat(failures, "\n"))
end

local function host(lua, loaded)
  return { lua, "-e", ("package.cpath = %q"):format(loaded .. "/?.so;" .. package.cpath) }
end

describe("a program ends while its threads are at something #slow #host", function()
  it("by its own will", function()
    case({ helper.host }, function(ending) return not ending.signal and ending[1] end)
  end)

  it("by a signal", function()
    case({ helper.host }, function(ending) return ending.signal and ending[1] end)
  end)

  local build = os.getenv "NEAP_BUILD"
  if not build or build:find "san" then return end
  it("in lua5.4", function()
    case(host("lua5.4", build), function(ending)
      return not ending.signal and ending.stock
    end, true)
  end)

  it("in lua5.4, by a signal", function()
    case(host("lua5.4", build), function(ending) return ending.signal and ending.stock end, true)
  end)
end)
