--- A program that can no longer move says so: who waits, where, for what, held by whom;
--- circles of those who wait for each other; and no false alarm.

local neap = require "neap"
local core = require "neap.core.test"
local helper = require "spec.helper"
local catch, many = helper.catch, helper.many

--- The error of a main chunk that waits for nothing that can come.
local function deadlock()
  local err = catch(function() neap.Future():await() end)
  assert.is_true(neap.DeadlockError:is(err), tostring(err))
  return err
end

--- The line of the report that is about the task of that name, with its own lines of
--- this file as "here".
local function line_of(err, name)
  for line in err.message:gmatch "[^\n]+" do
    if line:find("^  Task%-%d+ \"" .. name .. "\" ") then
      return (line:gsub("^  ", ""):gsub("Task%-%d+ \"", "\"")
        :gsub("%S*deadlock_spec.lua:%d+", "here"))
    end
  end
  error("no line about " .. name .. " in\n" .. err.message)
end

local function cycle_of(err)
  local line = err.message:match "\na cycle: (.*)$"
  return line and (line:gsub("Task%-%d+ \"", "\""))
end

local function spawn(name, fn, ...) return neap.create_task(fn, ...):set_name(name) end

local function cancel(tasks)
  for _, task in ipairs(tasks) do task:cancel() end
  helper.settle()
end

describe("a deadlock", function()
  --- Runs `fn` in a task called "it" until nothing can happen; gives its line.
  local function report(fn, ...)
    local task = spawn("it", fn, ...)
    local err = deadlock()
    local line = line_of(err, "it")
    cancel(err.tasks)
    task:cancel()
    return line
  end

  describe("names what is waited for:", function()
    it("a task, a future", function()
      local other = spawn("other", function() neap.Future():await() end)
      assert.equal('"it" waits in \'await\' at here for "other" (created at here)',
        report(function() other:await() end))
      assert.equal('"it" waits in \'await\' at here for <Future pending> (created at here)',
        report(function() neap.Future():await() end))
    end)

    it("an event, a notification, units of a semaphore", function()
      assert.equal('"it" waits in \'Event:wait\' at here for <Event unset> (created at here)',
        report(function() neap.Event():wait() end))
      assert.equal('"it" waits in \'Condition:wait\' at here for a notification of '
        .. '<Condition unlocked> (created at here)', report(function()
          local cond <close> = neap.Condition():acquire()
          cond:wait()
        end))
      assert.equal('"it" waits in \'Semaphore:acquire\' at here for '
        .. '<Semaphore value=0 locked> (3 units, none free) (created at here)', report(function()
          local sem = neap.Semaphore(3)
          for _ = 1, 4 do sem:acquire() end
        end))
    end)

    it("a queue, a barrier", function()
      assert.equal('"it" waits in \'Queue:get\' at here for <Queue maxsize=0 items=0> '
        .. '(created at here)', report(function() neap.Queue():get() end))
      assert.equal('"it" waits in \'Queue:put\' at here for '
        .. '<LifoQueue maxsize=1 items=1 unfinished=1> (created at here)', report(function()
          local queue = neap.LifoQueue(1)
          queue:put "one"
          queue:put "two"
        end))
      assert.equal('"it" waits in \'Barrier:wait\' at here for <Barrier filling waiters=1/2> '
        .. '(created at here)', report(function() neap.Barrier(2):wait() end))
    end)

    it("several futures, of which the first few are named", function()
      local a = spawn("a", function() neap.Future():await() end)
      local b = spawn("b", function() neap.Future():await() end)
      assert.equal('"it" waits in \'neap.gather\' at here for "a", "b" (created at here)',
        report(function() neap.gather(a, b) end))
      local list = {}
      for i = 1, 10 do list[i] = neap.Future() end
      assert.equal('"it" waits in \'neap.wait\' at here for <Future pending>, <Future pending>, '
        .. '<Future pending> and 7 more (created at here)', report(function() neap.wait(list) end))
      list[1]:set_result()
      assert.matches('^"it" waits in \'neap.as_completed\' at here for .* and 6 more ',
        report(function() for _ in neap.as_completed(list) do list[2]:cancelled() end end))
    end)

    it("what has no limit of time, the members of a group", function()
      assert.equal('"it" waits in \'neap.wait_for\' at here for <Future pending> (created at here)',
        report(function() neap.wait_for(neap.Future(), nil) end))
      assert.matches('^"it" waits in \'TaskGroup:close\' at here for "member" ', report(function()
        local group <close> = neap.TaskGroup()
        group:create_task(function() neap.Future():await() end):set_name "member"
      end))
    end)

    it("nothing but the name where that is all there is to know", function()
      core.freeze(false) -- a clock that stands still does not wake anybody
      finally(core.thaw)
      assert.equal('"it" waits in \'neap.sleep\' at here (created at here)',
        report(function() neap.sleep(1) end))
      assert.equal('"it" waits in \'neap.sleep\' (created at here)', report(neap.sleep, 1))
    end)
  end)

  it("says where, also inside generators", function()
    local function wait() neap.Event():wait() end
    local line = debug.getinfo(wait, "S").linedefined
    local task = spawn("it", function()
      coroutine.wrap(function() pcall(coroutine.wrap(wait)) end)()
    end)
    local err = deadlock()
    assert.matches("waits in 'Event:wait' at [^ ]*deadlock_spec.lua:" .. line .. " for",
      err.message)
    cancel { task }
  end)

  describe("says who holds a lock:", function()
    local lock
    before_each(function() lock = neap.Lock() end)
    local function acquire() lock:acquire() end

    it("another task #ordered", function()
      local holder = spawn("holder", function()
        local _held <close> = lock:acquire()
        neap.Future():await()
      end)
      assert.equal('"it" waits in \'Lock:acquire\' at here for <Lock locked> held by "holder" '
        .. '(created at here)', report(acquire))
      assert.is_true(holder:done())
    end)

    it("the one to whom it was handed over last", function()
      lock:acquire()
      local second = spawn("second", function()
        local _held <close> = lock:acquire()
        neap.Future():await()
      end)
      neap.sleep(0)
      lock:release()
      assert.matches("held by \"second\"", report(acquire))
      assert.is_true(second:done())
      assert.is_false(lock:locked())
    end)

    it("the main chunk", function()
      lock:try_acquire()
      assert.matches("held by the main chunk", report(acquire))
    end)

    it("the task itself", function()
      assert.matches("held by itself", report(function()
        lock:acquire()
        lock:acquire()
      end))
    end)

    it("a task that has ended, a loop callback", function()
      local gone = neap.create_task(acquire)
      gone:await()
      assert.matches("held by " .. gone:get_name():gsub("%-", "%%-") .. ", which has ended",
        report(acquire))
      lock:release()
      neap.get_event_loop():call_soon(lock.try_acquire, lock)
      neap.sleep(0)
      assert.matches("held by a loop callback", report(acquire))
    end)

    it("that a condition takes back", function()
      local cond = neap.Condition(lock)
      local task = spawn("it", function()
        cond:acquire()
        cond:wait()
      end)
      neap.sleep(0)
      lock:acquire()
      cond:notify()
      local err = deadlock()
      assert.matches("^\"it\" waits in 'Condition:wait' at here for <Lock locked> held by the main",
        line_of(err, "it"))
      lock:release()
      task:await()
    end)
  end)

  describe("that is a circle", function()
    it("of two locks is named as one", function()
      local a, b = neap.Lock(), neap.Lock()
      local function both(first, second)
        local _one <close> = first:acquire()
        neap.sleep(0)
        local _two <close> = second:acquire()
      end
      local one, two = spawn("one", both, a, b), spawn("two", both, b, a)
      local err = deadlock()
      assert.equal('"one" waits for <Lock locked> held by "two", '
        .. '"two" waits for <Lock locked> held by "one"', cycle_of(err))
      assert.same({ one, two }, err.cycle)
      cancel(err.tasks)
    end)

    it("of a lock and an awaited task is named as one", function()
      local lock = neap.Lock()
      local two = spawn("two", function()
        neap.sleep(0)
        lock:acquire()
      end)
      local one = spawn("one", function()
        local _held <close> = lock:acquire()
        two:await()
      end)
      local err = deadlock()
      assert.equal('"two" waits for <Lock locked> held by "one", "one" awaits "two"', cycle_of(err))
      assert.same({ two, one }, err.cycle)
      cancel(err.tasks)
    end)

    it("is found behind tasks that are not part of it, through a gather", function()
      local tasks = {}
      local outside = spawn("outside", function()
        neap.sleep(0)
        tasks[1]:await()
      end)
      tasks[1] = spawn("first", function()
        neap.sleep(0)
        neap.gather(neap.Future(), tasks[3], tasks[2])
      end)
      tasks[2] = spawn("second", function()
        neap.sleep(0)
        neap.wait { tasks[1] }
      end)
      tasks[3] = spawn("third", function() neap.Event():wait() end)
      local err = deadlock()
      assert.equal('"first" waits in \'neap.gather\' for "second", '
        .. '"second" waits in \'neap.wait\' for "first"', cycle_of(err))
      assert.same({ tasks[1], tasks[2] }, err.cycle)
      assert.same({ outside, tasks[1], tasks[2], tasks[3] }, err.tasks)
      cancel(err.tasks)
    end)

    it("of one is named, too", function()
      local lock = neap.Lock()
      local task = spawn("alone", function()
        lock:acquire()
        lock:acquire()
      end)
      local err = deadlock()
      assert.equal('"alone" waits for <Lock locked> held by itself', cycle_of(err))
      assert.same({ task }, err.cycle)
      cancel(err.tasks)
    end)

    it("may go through the main chunk, which is not in the list", function()
      local lock = neap.Lock():acquire()
      local task = spawn("it", function() lock:acquire() end)
      local err = catch(task.await, task)
      assert.equal('the main chunk awaits "it", "it" waits for <Lock locked> held by '
        .. 'the main chunk', (cycle_of(err):gsub('^("it".-), (the.*)$', "%2, %1")))
      assert.same({ task }, err.cycle)
      helper.settle()
    end)

    it("is nil where there is none", function()
      local task = spawn("it", function() neap.Event():wait() end)
      local err = deadlock()
      assert.is_nil(err.cycle)
      assert.is_nil(cycle_of(err))
      cancel { task }
    end)

    it("of 50,000 tasks is told in a few lines", function()
      local n, tasks = many(50000), {}
      for i = 1, n do
        tasks[i] = neap.create_task(function() tasks[i % n + 1]:await() end)
      end
      local err = deadlock()
      assert.equal(n, #err.cycle)
      assert.equal(n, #err.tasks)
      assert.equal(tasks[1], err.cycle[1])
      assert.equal(tasks[n], err.cycle[n])
      assert.is_true(#err.message < 20000)
      if n > 12 then
        assert.matches("Task%-%d+ awaits Task%-%d+, and so on through " .. n - 12
          .. " more, then Task", cycle_of(err))
      end
      tasks[1]:cancel()
      neap.wait(tasks)
    end)

    it("is looked for in no time where tens of thousands wait in one line", function()
      local n, lock, tasks = many(50000), neap.Lock(), {}
      for i = 1, n do
        tasks[i] = neap.create_task(function() lock:acquire():release() end)
      end
      lock:acquire()
      local err = deadlock()
      assert.is_nil(err.cycle)
      assert.equal(n, #err.tasks)
      lock:release()
      neap.wait(tasks)
    end)
  end)

  it("lists a hundred tasks and counts the others", function()
    local event = neap.Event()
    for _ = 1, 103 do neap.create_task(function() event:wait() end) end
    local err = deadlock()
    assert.equal(103, #err.tasks)
    local _, lines = err.message:gsub("\n  Task%-", "")
    assert.equal(100, lines)
    assert.matches("\n  and 3 more$", err.message)
    event:set()
    helper.settle()
  end)

  describe("ends the wait of the root:", function()
    it("at top level, after which the program goes on", function()
      local event = neap.Event()
      local task = spawn("it", function() return event:wait() end)
      for _ = 1, 3 do
        assert.same({ task }, deadlock().tasks)
        neap.sleep(0)
        assert.is_false(task:done())
      end
      event:set()
      assert.is_true(task:await())
      deadlock()
    end)

    it("neap.run", function()
      local inner
      local err = catch(neap.run, function()
        inner = neap.current_task():set_name "inner"
        neap.Event():wait()
      end)
      assert.is_true(neap.DeadlockError:is(err))
      assert.same({ inner }, err.tasks)
      assert.is_true(inner:cancelled())
      assert.equal(3, neap.run(function() return 3 end))
    end)

    it("run_until_complete and run_forever, whose tasks stay", function()
      local loop <close> = neap.new_event_loop()
      local event
      local task = loop:create_task(function()
        event = neap.Event()
        return event:wait()
      end)
      local err = catch(loop.run_until_complete, loop, task)
      assert.is_true(neap.DeadlockError:is(err))
      assert.same({ task }, err.tasks)
      err = catch(loop.run_forever, loop)
      assert.is_true(neap.DeadlockError:is(err))
      assert.same({ task }, err.tasks)
      event:set()
      assert.is_true(loop:run_until_complete(task))
    end)

    it("with no tasks at all", function()
      local loop <close> = neap.new_event_loop()
      local err = catch(loop.run_until_complete, loop, loop:create_future())
      assert.equal("nothing can wake the event loop: it has no tasks and no callbacks", err.message)
      assert.same({}, err.tasks)
    end)

    it("but lists only tasks of the loop that runs", function()
      local task = spawn("outer", function() neap.Event():wait() end)
      local err = catch(neap.run, function() neap.Event():wait() end)
      assert.equal(1, #err.tasks)
      assert.not_matches("outer", err.message)
      cancel { task }
    end)
  end)

  describe("is no false alarm:", function()
    it("not while a deadline is to come", function()
      core.freeze(true)
      finally(core.thaw)
      local event = neap.Event()
      neap.get_event_loop():call_later(3600, event.set, event)
      assert.is_true(event:wait())
    end)

    it("not while somebody waits with a limit", function()
      core.freeze(true)
      finally(core.thaw)
      local lock = neap.Lock():acquire()
      local task = spawn("it", function()
        local ok = pcall(neap.wait_for, function() lock:acquire() end, 60)
        lock:release()
        return ok
      end)
      assert.is_false(task:await())
      assert.is_false(lock:locked())
    end)

    it("but for a clock that stands still, which is told", function()
      core.freeze(false)
      local err = catch(neap.sleep, 5)
      core.thaw()
      assert.is_true(neap.DeadlockError:is(err))
      assert.matches("\nthe clock of neap.test stands still, with 1 deadline armed$", err.message)
    end)

    it("not while somebody only lets others go first", function()
      local event = neap.Event()
      local task = spawn("it", function()
        for _ = 1, 1000 do neap.sleep(0) end
        event:set()
      end)
      assert.is_true(event:wait())
      task:await()
    end)
  end)

  it("shows the program's own lines where neap.test waits for it", function()
    local seq = require "neap.test".sequence()
    local err = catch(function() seq(2) end)
    assert.matches("waits in '[^']+' at %S*deadlock_spec.lua:%d+", err.message)
  end)
end)
