--- Debug mode: which step held the event loop for long, and where.

local neap = require "neap"
local helper = require "spec.helper"

-- The limit is a time that a machine busy with others hardly takes away from a short step.
local PRELUDE = [[
local neap = require "neap"
local loop = neap.get_event_loop()
loop.slow_callback_duration = 0.1 + 0 * os.clock() -- its first call takes longer
local function busy()
  local start = os.clock()
  repeat until os.clock() - start > 0.12 -- line 6
end
]]

--- Runs the script after the prelude of 7 lines, in debug mode unless opts says
--- something else. What it wrote to stderr.
local function run(script, opts)
  local result = helper.run(PRELUDE .. script, opts or { env = "NEAP_DEBUG=1" })
  assert.equal(0, result.code)
  return result.err, result.out
end

describe("Debug mode", function()
  describe("tells of a step that holds the loop", function()
    it("in a task, with the line where it was", function()
      local err = run [[neap.create_task(busy):set_name "worker"]]
      assert.matches("^neap: warning: Executing <Task 'worker' done, created at main.lua:8> "
        .. "took %d+%.%d%d%d seconds: the event loop was held at main.lua:[56]\n"
        .. "stack traceback:\n.*main.lua:[56]: in .*", err)
    end)

    it("in a callback", function()
      local err = run [[
loop:call_soon(function() busy() end)
neap.sleep(0)]]
      assert.matches("Executing <Handle, created at main.lua:8> took .* held at main.lua:[56]\n",
        err)
      assert.matches("main.lua:8: in ", err)
    end)

    it("in a step in the middle of a task", function()
      local err = run [[
neap.create_task(function()
  neap.sleep(0)
  busy() -- line 10
  neap.sleep(0)
end)]]
      assert.matches("Executing <Task 'Task%-1' pending, .*waiting in 'neap.sleep'> took", err)
      assert.matches("main.lua:10: in ", err)
      assert.equal(1, select(2, err:gsub("Executing", "")))
    end)

    it("in a C function, at the line that called it", function()
      local err = run [[
neap.create_task(function()
  local _ = 1
  os.execute "sleep 0.15" -- line 10
  local t = {}
  for i = 1, 10000 do t[i] = i end
end)]]
      assert.matches("held at main.lua:10\n", err)
    end)

    it("in coroutines inside the task, made before or in it", function()
      local err = run [[
local early = coroutine.wrap(function()
  busy()
end)
neap.create_task(early)
neap.sleep(0)
neap.create_task(function()
  coroutine.wrap(function() busy() end)() -- line 14
end)]]
      assert.equal(2, select(2, err:gsub("Executing", "")))
      assert.matches("main.lua:14: in ", err)
    end)

    it("in a generator that was there before the step, at its line", function()
      local err = run [[
local held = coroutine.wrap(function()
  coroutine.yield()
  local start, clock = 0, os.clock
  repeat start = start == 0 and clock() or start until clock() - start > 0.12 -- line 11
  coroutine.yield()
end)
held()
neap.create_task(function()
  neap.sleep(0)
  held() -- line 17
end)]]
      assert.equal(1, select(2, err:gsub("Executing", "")))
      assert.matches("held at main.lua:11\n", err)
    end)

    it("while the clock of neap.test stands still", function()
      local err = run [[
local clock <close> = require "neap.test".clock()
neap.create_task(busy)
neap.sleep(3600)]]
      assert.matches("took %d+%.%d+ seconds: the event loop was held at main.lua:[56]", err)
    end)

    it("also where all of it is C", function()
      local err = run [[neap.create_task(os.execute, "sleep 0.15")]]
      assert.matches("Executing <Task 'Task%-1' done, created at main.lua:8> took %d+%.%d+ "
        .. "seconds\n", err)
    end)
  end)

  it("is silent about what is fast enough, and about waiting", function()
    assert.equal("", (run [[
neap.create_task(function() neap.sleep(0.25) end)
loop.slow_callback_duration = 60
neap.create_task(busy)
for _ = 1, 100 do neap.sleep(0) end]]))
  end)

  it("can be switched on and off", function()
    local err, out = run([[
print(loop:get_debug())
loop:set_debug(true)
print(loop:get_debug())
neap.create_task(busy):set_name "one":await()
loop:set_debug(false)
neap.create_task(busy):set_name "two":await()
print(neap.new_event_loop():get_debug())]], { env = "NEAP_DEBUG=" })
    assert.equal("false\ntrue\nfalse\n", out)
    assert.matches("'one'", err)
    assert.is_nil(err:find("'two'", 1, true))
  end)

  it("is switched on by the environment", function()
    local script = "print(loop:get_debug(), neap.new_event_loop():get_debug())"
    for value, expected in pairs { ["1"] = "true\ttrue\n", ["0"] = "false\tfalse\n",
      [""] = "false\tfalse\n" } do
      assert.equal(expected, select(2, run(script, { env = "NEAP_DEBUG=" .. value })))
    end
  end)

  it("does not change what a program does", function()
    local err, out = run [[
loop.slow_callback_duration = 60 -- a busy machine is not what this is about
local log = {}
local function note(text) log[#log + 1] = text end
local task = neap.create_task(function()
  note "a"
  local ok, e = pcall(error, "x", 0)
  note(tostring(ok) .. e)
  for value in coroutine.wrap(function()
    neap.sleep(0)
    coroutine.yield "b"
  end) do note(value) end
  neap.sleep(3600)
end)
loop:call_soon(note, "callback")
loop:call_soon(function() end):cancel()
neap.sleep(0.001)
task:cancel()
note(tostring(select(2, pcall(task.await, task))))
print(table.concat(log, " "))]]
    assert.same({ "", "a falsex callback b CancelledError\n" }, { err, out })
  end)

  it("leaves the program's hooks alone", function()
    local err, out = run [[
local counts = { outer = 0, inner = 0 }
neap.create_task(function()
  debug.sethook(function() counts.inner = counts.inner + 1 end, "", 100)
  neap.sleep(0)
  busy()
  print(debug.gethook() ~= nil, counts.inner > 100)
  debug.sethook()
  neap.sleep(0)
end)
neap.create_task(function()
  neap.sleep(0)
  local co = coroutine.create(function() for _ = 1, 1000 do end coroutine.yield() end)
  debug.sethook(co, function() counts.outer = counts.outer + 1 end, "", 100)
  coroutine.resume(co)
  print(counts.outer > 5)
end)]]
    assert.equal("true\ttrue\ntrue\n", out)
    assert.matches("took %d+%.%d+ seconds; it went on at main.lua:11; it is now at main.lua:15\n",
      err)
  end)

  it("does not make the exit code 1", function()
    assert.matches("warning", (run "neap.create_task(busy)")) -- run checks the code
  end)

  it("watches 100,000 short steps", function()
    local loop = neap.get_event_loop()
    local _off <close> = setmetatable({}, { __close = function() loop:set_debug(false) end })
    loop:set_debug(true)
    loop.slow_callback_duration = 10
    helper.in_task(function()
      for _ = 1, helper.many(100000) do neap.sleep(0) end
    end)
    loop.slow_callback_duration = 0.1
  end)
end)

describe("loop.slow_callback_duration", function()
  it("is a number of seconds that can be set, for each loop", function()
    local loop, other = neap.get_event_loop(), neap.new_event_loop()
    assert.equal(0.1, loop.slow_callback_duration)
    other.slow_callback_duration = 2
    assert.equal(2.0, other.slow_callback_duration)
    assert.equal(0.1, loop.slow_callback_duration)
    other:close()
    assert.matches("closed", helper.catch(function() return other.slow_callback_duration end))
  end)

  it("refuses what is no duration, and other fields", function()
    local loop = neap.get_event_loop()
    for value, name in pairs { [-1] = "%-1", x = "string", [true] = "boolean" } do
      assert.matches("seconds %(0 or more%) expected, got " .. name,
        helper.catch(function() loop.slow_callback_duration = value end))
    end
    assert.matches("expected", helper.catch(function() loop.slow_callback_duration = 0 / 0 end))
    assert.matches("has no field 'other'", helper.catch(function() loop.other = 1 end))
    assert.is_nil(loop.other)
    assert.is_function(loop.call_soon)
  end)
end)

describe("An exception handler", function()
  --- What the default handler writes about a context (a Lua expression).
  local function report(context)
    local result = helper.run(([[
      local neap = require "neap"
      neap.get_event_loop():call_exception_handler(%s)
    ]]):format(context))
    assert.equal(1, result.code)
    return result.err
  end

  it("has a message where none was given", function()
    assert.equal("Unhandled exception in event loop\n", report "{}")
    assert.equal("Unhandled exception in event loop\n", report "{ message = '' }")
    assert.equal("Unhandled exception in event loop\noops\n", report "{ exception = 'oops' }")
    assert.equal("text\n", report "{ message = 'text' }")
  end)

  it("tells every field of the context, by name", function()
    assert.equal("text\na: 1\nb: 2\nc: false\noops\nstack\n",
      report "{ c = false, message = 'text', b = 2, exception = 'oops', a = 1, \
        traceback = 'stack', [1] = 3 }")
  end)

  it("that fails is reported itself, and what it was about", function()
    local err = report [[(function()
      local loop = require "neap".get_event_loop()
      loop:set_exception_handler(function() error("in the handler", 0) end)
      return { message = "original", exception = "oops" }
    end)()]]
    assert.matches("^Unhandled error in exception handler\nin the handler\n.*\noriginal\noops\n$",
      err)
  end)

  it("that calls os.exit ends the program without a report", function()
    local result = helper.run [[
      local neap = require "neap"
      local loop = neap.get_event_loop()
      loop:set_exception_handler(function() os.exit(4) end)
      loop:call_soon(error, "x")
      neap.sleep(10)
    ]]
    assert.same({ "", "", 4 }, { result.out, result.err, result.code })
  end)
end)
