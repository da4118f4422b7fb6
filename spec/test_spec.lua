local neap = require "neap"
local test = require "neap.test"
local helper = require "spec.helper"

local catch, log = helper.catch, helper.log

describe("neap.test.clock", function()
  it("takes milliseconds for an hour of sleeps", function()
    local started = os.clock()
    local clock <close> = test.clock()
    local before = neap.get_event_loop():time()
    for _ = 1, 3600 do neap.sleep(1) end
    assert.equal(3600, clock:time())
    assert.near(3600, neap.get_event_loop():time() - before, 1e-6)
    assert.is_true(os.clock() - started < 5)
  end)

  it("jumps to the next deadline only, in tasks and at top level", function()
    local clock <close> = test.clock()
    local list, note = log()
    local tasks = {}
    for i, delay in ipairs { 30, 10, 20 } do
      tasks[i] = neap.create_task(function()
        neap.sleep(delay)
        note(delay .. " at " .. clock:time())
      end)
    end
    neap.gather(tasks)
    assert.same({ "10 at 10.0", "20 at 20.0", "30 at 30.0" }, list)
  end)

  it("does not move while a task has something to do", function()
    local clock <close> = test.clock()
    local turns = 0
    local task = neap.create_task(function()
      neap.sleep(1)
      return turns
    end)
    for _ = 1, 100 do
      neap.sleep(0)
      turns = turns + 1
    end
    assert.equal(0, clock:time())
    assert.equal(100, task:await())
  end)

  it("goes through each deadline on the way when it is advanced", function()
    local clock <close> = test.clock { autojump = false }
    local list, note = log()
    neap.create_task(function()
      for _ = 1, 3 do
        neap.sleep(2)
        note("a" .. clock:time())
      end
    end)
    neap.create_task(function()
      neap.sleep(3)
      neap.sleep(0)
      note("b" .. clock:time()) -- what follows from a deadline belongs to its time
    end)
    clock:advance(5)
    assert.same({ "a2.0", "b3.0", "a4.0" }, list)
    assert.equal(5, clock:time())
    clock:advance(1)
    assert.same({ "a2.0", "b3.0", "a4.0", "a6.0" }, list)
  end)

  it("runs the callbacks of the loop at their times", function()
    local clock <close> = test.clock { autojump = false }
    local list, note = log()
    local loop = neap.get_event_loop()
    loop:call_later(0.5, function() note(clock:time()) end)
    loop:call_at(loop:time() + 1.5, function() note(clock:time()) end)
    clock:advance(0.25)
    assert.same({}, list)
    clock:advance(2)
    assert.equal(0.5, list[1])
    assert.near(1.5, list[2], 1e-6)
  end)

  it("says so when time stands still and nothing else can happen", function()
    local _clock <close> = test.clock { autojump = false }
    local err = catch(neap.sleep, 1)
    assert.is_true(neap.DeadlockError:is(err))
    assert.matches("neap.sleep", tostring(err), 1, true)
  end)

  it("advances from a task as well", function()
    local clock <close> = test.clock { autojump = false }
    local list, note = log()
    neap.create_task(function()
      neap.sleep(1)
      note("slept")
    end)
    helper.in_task(function()
      clock:advance(1)
      note("advanced")
    end)
    assert.same({ "slept", "advanced" }, list)
  end)

  it("goes far, and what is armed there is still to come", function()
    local result = helper.run [[
      local neap = require "neap"
      local clock = require "neap.test".clock { autojump = false }
      for _ = 1, 4 do clock:advance(math.huge) end
      local fired = false
      neap.get_event_loop():call_later(math.huge, function() fired = true end)
      clock:advance(0)
      print(clock:time() > 4e9, fired)
      os.exit(0, false)
    ]]
    assert.equal("true\tfalse\n", result.out, result.err)
  end)

  it("stops where it is when the task that advances it is cancelled", function()
    local clock <close> = test.clock { autojump = false }
    local advancing
    neap.create_task(function()
      neap.sleep(1)
      advancing:cancel()
    end)
    local sleeper = neap.create_task(neap.sleep, 2, "up")
    advancing = neap.create_task(clock.advance, clock, 5)
    assert.is_true(neap.CancelledError:is(catch(advancing.await, advancing)))
    assert.equal(1, clock:time())
    clock:advance(1)
    assert.equal("up", sleeper:result())
  end)

  it("leaves what is armed the time that it had to go", function()
    local loop = neap.get_event_loop()
    local list, note = log()
    local early = loop:call_later(100, note, "early") -- in real time
    local late, before, after
    do
      local clock <close> = test.clock()
      late = loop:call_later(200, note, "late")
      neap.sleep(150)
      assert.same({ "early" }, list)
      assert.equal(150, clock:time())
      before = loop:time()
    end
    after = loop:time()
    assert.is_true(after >= before, "time went back")
    assert.is_true(late:when() - after > 20 and late:when() - after <= 50)
    do
      local clock <close> = test.clock()
      clock:advance(50)
    end
    assert.same({ "early", "late" }, list)
    early:cancel()
  end)

  it("is the only one, and closes once", function()
    local clock = test.clock()
    assert.equal(clock, test.current_clock())
    local err = catch(function() local _ = test.clock() end)
    assert.matches("test_spec.lua:%d+: a virtual clock is in place already", err)
    clock:close()
    clock:close()
    assert.is_nil(test.current_clock())
    assert.matches("the clock is closed", catch(clock.advance, clock, 1))
    test.clock():close()
  end)

  it("takes no bad arguments", function()
    assert.matches("bad argument #1 to 'neap.test.clock' %(table expected, got number%)",
      catch(test.clock, 1))
    assert.matches("bad option 'autojump'", catch(test.clock, { autojump = 1 }))
    local clock <close> = test.clock()
    assert.matches("time does not go back", catch(clock.advance, clock, -1))
    assert.matches("seconds expected, got NaN", catch(clock.advance, clock, 0 / 0))
    assert.matches("seconds expected, got string", catch(clock.advance, clock, "1"))
    assert.matches("Clock expected, got table", catch(clock.advance, {}, 1))
    assert.equal(0, clock:time())
  end)
end)

describe("neap.test.settle", function()
  it("waits until all others wait, whatever they wait for", function()
    local event, list, note = neap.Event(), log()
    neap.create_task(function()
      for _ = 1, 50 do neap.sleep(0) end
      note "turns"
      event:set()
    end)
    local sleeper = neap.create_task(function()
      event:wait()
      note "event"
      neap.sleep(1000)
    end)
    test.settle()
    assert.same({ "turns", "event" }, list)
    assert.is_false(sleeper:done())
    sleeper:cancel()
  end)

  it("does not let time jump", function()
    local clock <close> = test.clock()
    local sleeper = neap.create_task(neap.sleep, 1)
    test.settle()
    assert.equal(0, clock:time())
    sleeper:await()
  end)

  it("can be cancelled, and lets several settle one after the other", function()
    local done = 0
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = neap.create_task(function()
        test.settle()
        done = done + 1
      end)
    end
    local cancelled = neap.create_task(test.settle)
    neap.sleep(0)
    cancelled:cancel()
    neap.gather(tasks)
    assert.equal(3, done)
    assert.is_true(cancelled:cancelled())
  end)
end)

describe("neap.test.shuffle", function()
  local function order_of(n)
    local list, note = log()
    local tasks = {}
    for i = 1, n do
      tasks[i] = neap.create_task(function()
        note(i)
        neap.sleep(0)
        note(-i)
      end)
    end
    neap.gather(tasks)
    return table.concat(list, " ")
  end

  local function shuffled(seed, n)
    local _order <close> = test.shuffle(seed)
    return order_of(n)
  end

  it("gives the same order for the same seed, and others for others", function()
    local seen, different = {}, 0
    for seed = 1, 20 do
      local order = shuffled(seed, 8)
      assert.equal(order, shuffled(seed, 8))
      if not seen[order] then different = different + 1 end
      seen[order] = true
    end
    assert.is_true(different >= 19)
    assert.not_equal(shuffled(nil, 8), shuffled(1, 8))
  end)

  it("runs each task that is ready once a turn", function()
    for seed = 1, 5 do
      local seen = {}
      for number in shuffled(seed, 40):gmatch "%S+" do
        local i = math.tointeger(number)
        assert.is_nil(seen[i])
        if i < 0 then assert.is_true(seen[-i]) end
        seen[i] = true
      end
    end
  end)

  it("finds a race that the usual order hides", function()
    local function last_one_wins(seed)
      local _order <close> = test.shuffle(seed)
      local value
      neap.gather(function() value = "first" end, function() value = "second" end)
      return value
    end
    assert.equal("second", last_one_wins(nil))
    local seen = {}
    for seed = 1, 20 do seen[last_one_wins(seed)] = true end
    assert.same({ first = true, second = true }, seen)
  end)

  it("ends at close, and goes back to what was before, where that was", function()
    local plain = shuffled(nil, 6)
    local outer = test.shuffle(5)
    order_of(6)
    local expected
    do
      local again = test.shuffle(5)
      order_of(6)
      expected = order_of(6)
      again:close()
      again:close()
    end
    assert.equal(plain, shuffled(nil, 6))
    assert.equal(expected, order_of(6)) -- as if nothing had been between
    outer:close()
    local first, second = test.shuffle(1), test.shuffle(2)
    first:close() -- not the latest: it ends with that
    assert.matches("seed=1 closed", tostring(first))
    second:close()
    local _plain <close> = test.shuffle(nil)
    assert.equal(plain, order_of(6))
  end)

  it("wants a whole number", function()
    assert.matches("bad argument #1 to 'neap.test.shuffle' %(integer expected, got number%)",
      catch(test.shuffle, 1.5))
    assert.matches("integer expected, got string", catch(test.shuffle, "1"))
  end)

  it("has its seed in the reports of a script that fails #host", function()
    local script = [[
      local neap = require "neap"
      local test = require "neap.test"
      %s test.shuffle(77)
      %s]]
    local result = helper.run(script:format("local _order =", "error 'main'"))
    assert.matches("main.lua:4: main.*\nseed 77 %(neap.test.shuffle%(77%) replays it%)", result.err)
    result = helper.run(script:format("local _order <close> =", "error 'main'"))
    assert.matches("neap.test: an error left the block that ran with seed 77", result.err)
    result = helper.run(script:format("local _order =", "neap.create_task(error, 'lost', 0)"))
    assert.matches("never retrieved.*lost.*\nseed 77 ", result.err)
    result = helper.run(script:format("local _order <close> =", "neap.sleep(0)"))
    assert.equal("", result.err)
  end)
end)

describe("neap.test.sequence", function()
  it("takes the steps in order, whichever task comes first", function()
    local seq = test.sequence()
    local list, note = log()
    local function steps(...)
      local numbers = { ... }
      return neap.create_task(function()
        for _, n in ipairs(numbers) do
          seq(n)
          note(n)
        end
      end)
    end
    neap.gather(steps(3, 6), steps(2, 5), steps(1, 4, 7))
    assert.same({ 1, 2, 3, 4, 5, 6, 7 }, list)
  end)

  it("works at top level, where what is done already does not wait", function()
    local seq = test.sequence()
    seq(1)
    seq(2)
    local task = neap.create_task(seq, 4)
    test.settle()
    assert.is_false(task:done())
    seq(3)
    task:await()
  end)

  it("has steps that last to the end of a block", function()
    local seq = test.sequence()
    local list, note = log()
    neap.gather(function()
      seq(2)
      note "second"
    end, function()
      local _step <close> = seq:step(1)
      for _ = 1, 5 do neap.sleep(0) end
      note "first"
    end)
    assert.same({ "first", "second" }, list)
  end)

  it("refuses a step that was taken, and says where", function()
    local seq = test.sequence()
    seq(1)
    local err = catch(function() seq(1) end)
    assert.matches("step 1 of the neap.test.sequence of spec/test_spec.lua:%d+ was taken already, "
      .. "at spec/test_spec.lua:%d+", err)
    assert.matches("numbered from 1, got 0", catch(seq, 0))
    assert.matches("integer expected, got number", catch(seq, 1.5))
    assert.matches("integer expected, got nil", catch(seq.step, seq))
  end)

  it("names the sequence and the step in a deadlock", function()
    local seq = test.sequence()
    local err = catch(seq, 2)
    assert.is_true(neap.DeadlockError:is(err))
    assert.matches("step 2 of the neap.test.sequence of spec/test_spec.lua:%d+, after step 1",
      tostring(err))
  end)

  it("gives a step back that was cancelled while it waited", function()
    local seq = test.sequence()
    local task = neap.create_task(seq, 2)
    test.settle()
    task:cancel()
    test.settle()
    assert.is_true(task:cancelled())
    seq(1)
    seq(2)
  end)
end)

describe("neap.test.cancel_sweep", function()
  --- What the sweep says about `fn`.
  local function fault(fn, opts)
    local err = catch(test.cancel_sweep, fn, opts)
    assert.is_string(err)
    assert.equal(0, #neap.all_tasks()) -- it cleans up
    return err
  end

  local function has(text, part) assert.is_truthy(text:find(part, 1, true), text) end

  it("cancels at each wait, when it parks and when it was woken", function()
    local ends = {}
    local waits = test.cancel_sweep(function()
      local reached = 0
      local _end <close> = setmetatable({}, { __close = function(_, err)
        assert.is_true(err == nil or neap.CancelledError:is(err))
        ends[#ends + 1] = reached
      end })
      for i = 1, 3 do
        neap.sleep(i == 2 and 0 or i)
        reached = i
      end
    end)
    assert.equal(3, waits)
    assert.same({ 0, 1, 2, 3, 0, 1, 2, 3 }, ends)
  end)

  it("runs once each way what does not wait", function()
    local n = 0
    assert.equal(0, test.cancel_sweep(function() n = n + 1 end))
    assert.equal(2, n)
    assert.equal(0, test.cancel_sweep(function() n = n + 1 end, { at = "wake" }))
    assert.equal(3, n)
  end)

  it("works in a task, and in time that stands still", function()
    local clock <close> = test.clock { autojump = false }
    assert.equal(1, helper.in_task(test.cancel_sweep, function() neap.sleep(5) end))
    local sleeper = neap.create_task(neap.sleep, 1)
    assert.is_true(neap.DeadlockError:is(catch(sleeper.await, sleeper))) -- as before
    clock:advance(1)
  end)

  it("finds a lock that is not released", function()
    local text = fault(function()
      local lock = neap.Lock()
      lock:acquire()
      neap.sleep(1)
      lock:release()
    end)
    has(text, "cancel_sweep, when it was cancelled in wait 1, 'neap.sleep' at spec/test_spec.lua:")
    has(text, "left held: <Lock locked")
  end)

  it("finds a lock that was obtained at the moment of the cancellation", function()
    -- What a careless wrapper does: an acquire that a cancellation cannot end.
    local function acquire(lock)
      local ok, err = pcall(neap.shield, lock.acquire, lock)
      if not ok then error(err, 0) end
    end
    local function run(lock)
      local group <close> = neap.TaskGroup()
      group:create_task(function()
        local _held <close> = lock:acquire()
        neap.sleep(1)
      end)
      neap.sleep(0.5)
      acquire(lock)
      lock:release()
    end
    has(fault(function() run(neap.Lock()) end), "left held: <Lock locked")
  end)

  it("finds a unit of a semaphore, and what is tracked", function()
    has(fault(function()
      local semaphore = neap.Semaphore(3)
      semaphore:acquire()
      neap.sleep(1)
      semaphore:release()
    end), "left held: <Semaphore value=2")
    has(fault(function(sweep)
      local file = { closed = false }
      sweep:track(file, function(f) return f.closed end)
      neap.sleep(1)
      file.closed = true
    end), "which was tracked")
    local outer = neap.Lock()
    has(fault(function(sweep)
      sweep:track(outer)
      outer:acquire()
      neap.sleep(1)
      outer:release()
    end), "<Lock locked")
  end)

  it("finds a task and a timer that are left", function()
    has(fault(function()
      local task = neap.create_task(neap.sleep, 100)
      neap.sleep(1)
      task:cancel()
    end), "left behind: a task: <Task 'Task-")
    has(fault(function()
      local timer = neap.get_event_loop():call_later(100, print)
      neap.sleep(1)
      timer:cancel()
    end), "left behind: a timer: <Handle, created at spec/test_spec.lua:")
  end)

  it("finds a cancellation that is swallowed or replaced, and a task that hangs", function()
    local function swallows() pcall(neap.sleep, 1) end
    has(fault(swallows), "it swallowed the cancellation and returned")
    assert.equal(1, test.cancel_sweep(swallows, { outcome = "any" }))
    has(fault(function()
      if not pcall(neap.sleep, 1) then error "something else" end
    end), "it ended with another error: spec/test_spec.lua:")
    has(fault(function()
      if not pcall(neap.sleep, 1) then
        neap.current_task():uncancel()
        neap.Event():wait()
      end
    end), "it did not end: <Task")
  end)

  it("finds what is lost only between the wake and the run", function()
    local function hand_over(lossy)
      local future, value = neap.Future(), nil
      local group <close> = neap.TaskGroup()
      group:create_task(function()
        neap.sleep(1)
        future:set_result "token"
      end)
      local _back <close> = setmetatable({}, { __close = function()
        if lossy and value == nil and future:done() and not future:cancelled() then
          error("the token is lost", 0)
        end
      end })
      value = future:await()
    end
    test.cancel_sweep(function() hand_over(true) end, { at = "park", outcome = "any" })
    local lost
    test.cancel_sweep(function()
      local _, err = pcall(hand_over, true)
      if tostring(err):find "lost" then lost = true end
      if err then error(err, 0) end
    end, { at = "wake", outcome = "any" })
    assert.is_true(lost)
  end)

  it("raises the error of a function that fails without being cancelled", function()
    assert.equal("oops", catch(test.cancel_sweep, function() error("oops", 0) end))
  end)

  it("is one at a time", function()
    assert.matches("a cancel sweep is under way already", catch(test.cancel_sweep, function()
      test.cancel_sweep(function() neap.sleep(1) end)
    end))
    assert.equal(1, test.cancel_sweep(function() neap.sleep(1) end))
  end)

  it("gives up on a task that swallows every cancellation", function()
    has(fault(function()
      while true do pcall(neap.sleep, 1) end
    end), "it did not end: <Task")
  end)

  it("gives up on what waits for ever, and takes no bad arguments", function()
    has(fault(function()
      for _ = 1, 100 do neap.sleep(0) end
    end, { max_waits = 10 }), "it waits more than 10 times")
    assert.matches("function expected, got nil", catch(test.cancel_sweep))
    assert.matches("table expected, got number", catch(test.cancel_sweep, print, 1))
    assert.matches("bad option 'at'", catch(test.cancel_sweep, print, { at = "x" }))
    assert.matches("bad option 'limit'", catch(test.cancel_sweep, print, { limit = 0 }))
    test.cancel_sweep(function(sweep)
      assert.matches("locked%(%) expected", catch(sweep.track, sweep, 1))
      assert.matches("function expected, got number", catch(sweep.track, sweep, {}, 1))
    end)
  end)
end)
