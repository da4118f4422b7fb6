--- busted's helper, run in a process of its own on small files with planted faults.

local helper = require "spec.helper"

local MAIN = [[
arg = { [0] = "busted", "--helper=neap.test.busted", "--output=plainTerminal", "x_spec.lua" }
require "busted.runner" { standalone = false }
]]

--- Runs busted on a file with these tests in a `describe`. Gives the output.
local function busted(tests, env)
  local result = helper.run(MAIN, {
    files = {
      ["x_spec.lua"] = [[
local neap = require "neap"
local test = require "neap.test"
describe("planted", function()
]] .. tests .. "\nend)\n",
    },
    env = "SEED= NEAP_TEST_CLOCK= NEAP_TEST_TIMEOUT= " .. (env or ""),
  })
  return result.out .. result.err, result.code
end

local function passes(tests, env)
  local out, code = busted(tests, env)
  assert.equal(0, code, out)
  return out
end

--- The output of a run in which the first test fails and the second one passes.
local function fails(tests, env)
  local out, code = busted(tests .. [[

  it("comes after it", function()
    require("neap.test.busted").set_timeout(60) -- that of the first one may be very short
    assert.equal(0, #neap.all_tasks())
    assert.is_nil(test.current_clock())
    neap.sleep(0)
  end)]], env)
  assert.matches("^[-*]%+\n", out)
  assert.matches("1 success /", out)
  assert.equal(1, code)
  return out
end

local function has(out, text) assert.is_truthy(out:find(text, 1, true), out) end

describe("neap.test.busted #host", function()
  it("lets a test wait", function()
    passes [[
  it("waits", function()
    neap.sleep(0.001)
    assert.equal("x", neap.create_task(neap.sleep, 0.001, "x"):await())
  end)]]
  end)

  it("fails a test that leaves a task behind, and names where it was created", function()
    local out = fails [[  it("leaves", function() neap.create_task(neap.sleep, 1000) end)]]
    has(out, "x_spec.lua:4: the test left behind:\n  a task: <Task 'Task-1' pending, "
      .. "created at x_spec.lua:4, waiting in 'neap.sleep'")
  end)

  it("ends a task that swallows its cancellation", function()
    fails [[
  it("leaves", function()
    neap.create_task(function() while true do pcall(neap.sleep, 1000) end end)
  end)]]
  end)

  it("fails a test that leaves a timer behind, and names where it was created", function()
    local out = fails [[
  it("leaves", function() neap.get_event_loop():call_later(1000, print) end)]]
    has(out, "a timer: <Handle, created at x_spec.lua:4>")
  end)

  it("fails a test that leaves a loop behind, or another one in place", function()
    has(fails [[  it("leaves", function() neap.new_event_loop() end)]], "a loop: <EventLoop")
    has(fails [[  it("leaves", function() neap.set_event_loop(neap.new_event_loop()) end)]],
      "another event loop in place")
  end)

  it("fails a test with an error that nobody looked at", function()
    local out = fails [[  it("loses", function() neap.create_task(error, "lost", 0) end)]]
    has(out, "the loop reported:\nTask exception was never retrieved: lost")
  end)

  it("fails a test whose callback raises", function()
    local out = fails [[
  it("raises", function() neap.get_event_loop():call_soon(error, "oops", 0) end)]]
    has(out, "Exception in callback: oops")
  end)

  it("fails a test that takes too long, and says what it waits for", function()
    local out = fails([[
  it("hangs", function()
    local lock = neap.Lock():acquire()
    local _other = neap.create_task(neap.sleep, 1000)
    lock:acquire()
  end)]], "NEAP_TEST_TIMEOUT=1") -- what it waits for is reached long before
    has(out, "TimeoutError: not done after 1.0 s: waits in 'Lock:acquire'")
    has(out, "waiting in 'neap.sleep'")
  end)

  it("ends a test that is busy with waits, and one in a loop of its own", function()
    has(fails([[  it("spins", function() while true do neap.sleep(0) end end)]],
      "NEAP_TEST_TIMEOUT=0.1"), "TimeoutError: not done after 0.1 s")
    has(fails([[  it("runs", function() neap.run(neap.sleep, 1000) end)]],
      "NEAP_TEST_TIMEOUT=0.1"), "TimeoutError: not done after 0.1 s")
  end)

  it("measures that in real time, whatever the clock says", function()
    passes([[  it("sleeps #clock", function() neap.sleep(1000) end)]], "NEAP_TEST_TIMEOUT=50")
    has(fails([[
  it("hangs #clock", function()
    while true do neap.sleep(1000) end
  end)]], "NEAP_TEST_TIMEOUT=0.1"), "TimeoutError: not done after 0.1 s")
  end)

  it("fails a test at once that waits for what cannot happen", function()
    local out = fails [[  it("hangs", function() neap.Event():wait() end)]]
    has(out, "DeadlockError: nothing can wake the main chunk")
    has(out, "Event:wait")
  end)

  it("makes time virtual by a tag, also of the group, or by the environment", function()
    local tests = [[
  it("sleeps %s", function()
    neap.sleep(1000)
    assert.equal(1000, test.current_clock():time())
    local clock <close> = test.clock { autojump = false }
    clock:advance(5)
    assert.equal(5, clock:time())
  end)]]
    passes(tests:format "#clock")
    passes(tests:format "", "NEAP_TEST_CLOCK=1")
    passes(('describe("group #clock", function()\n%s\nend)'):format(tests:format ""))
  end)

  it("shuffles by SEED, from the start in each test, but those that are #ordered", function()
    local out = passes([[
  local function run()
    local list = {}
    for i = 1, 8 do neap.create_task(function() list[#list + 1] = i end) end
    test.settle()
    return table.concat(list, " ")
  end
  local first
  it("one", function() first = run(); print("order", first) end)
  it("two", function() assert.equal(first, run()) end)
  it("three #ordered", function() assert.equal("1 2 3 4 5 6 7 8", run()) end)]], "SEED=4")
    local order = out:match "order\t([%d ]+)"
    assert.not_equal("1 2 3 4 5 6 7 8", order)
  end)

  it("prints the seed where a test fails", function()
    local out = fails([[  it("fails", function() assert.equal(1, 2) end)]], "SEED=123")
    has(out, "seed: 123 (SEED=123 replays it)")
    out = fails([[  it("fails #ordered", function() assert.equal(1, 2) end)]], "SEED=123")
    assert.is_nil(out:find("123", 1, true))
    out = fails([[  it("leaves", function() neap.create_task(neap.sleep, 1) end)]], "SEED=7")
    has(out, "SEED=7 replays it")
  end)

  it("lets after_each and finally clean up first", function()
    passes [[
  local task
  after_each(function() if task then task:cancel() end end)
  it("leaves", function() task = neap.create_task(neap.sleep, 1000) end)]]
    passes [[
  it("leaves", function()
    local task = neap.create_task(neap.sleep, 1000)
    finally(function() task:cancel() end)
  end)]]
    local out, code = busted [[
  after_each(function() end)
  it("leaves", function() neap.create_task(neap.sleep, 1000) end)]]
    has(out, "the test left behind:\n  a task: <Task")
    assert.equal(1, code)
  end)

  it("leaves alone what was there before the test", function()
    passes [[
  local task
  setup(function() task = neap.create_task(neap.sleep, 1000) end)
  teardown(function() task:cancel() end)
  it("uses it", function() assert.equal("pending", task:state()) end)
  it("finds it still there", function() assert.equal("pending", task:state()) end)]]
  end)

  it("says only what failed when a test that fails leaves things as well", function()
    local out = fails [[
  it("fails", function()
    neap.create_task(neap.sleep, 1000)
    test.clock()
    assert.equal(1, 2)
  end)]]
    assert.is_nil(out:find("left behind", 1, true))
  end)

  it("names a signal handler that a test left, and removes it", function()
    local out = fails [[
  it("leaves", function() neap.get_event_loop():add_signal_handler("SIGUSR2", print) end)]]
    has(out, "a handler of SIGUSR2: <Handle, created at x_spec.lua:4>")
    out = busted [[
  it("leaves", function() neap.get_event_loop():add_signal_handler("SIGUSR2", print) end)
  it("is alone", function()
    assert.is_true(neap.DeadlockError:is(select(2, pcall(neap.Future().await, neap.Future()))))
  end)]]
    has(out, "1 success / 1 failure / 0 errors")
  end)

  it("ends the time-outs that a test left open", function()
    local out = fails [[  it("leaves", function() neap.timeout(50) end)]]
    has(out, "a time-out that was not closed, made at ")
    out = busted [[
  it("leaves", function() neap.timeout(0.001) error("oops", 0) end)
  it("is not cancelled by it #clock", function() neap.sleep(100) end)
  it("nor later", function() neap.sleep(0) end)]]
    has(out, "2 successes / 0 failures / 1 error")
    out = busted [[
  it("leaves", function() neap.timeout(0) pcall(neap.sleep, 1) error("oops", 0) end)
  it("has nothing swallowed", function() neap.sleep(0) end)]]
    has(out, "1 success / 0 failures / 1 error")
  end)

  it("refuses an environment that makes no sense", function()
    local out, code = busted("", "SEED=x")
    assert.not_equal(0, code)
    has(out, "SEED=x is no number")
  end)
end)
