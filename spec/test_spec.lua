local neap = require "neap"
local test = require "neap.test"
local helper = require "spec.helper"

local catch, log = helper.catch, helper.log

describe("neap.test.clock", function()
  helper.guard(before_each, after_each)

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
    assert.is_true(late:when() - after > 49 and late:when() - after <= 50)
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
