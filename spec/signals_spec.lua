--- neap.signal: waiting for signals, listening, sending.

local neap = require "neap"
local signal = require "neap.signal"
local test = require "neap.test"
local helper = require "spec.helper"

local catch, in_task, settle = helper.catch, helper.in_task, helper.settle

--- Some passes of the loop, so that signals that came are seen.
local function look() for _ = 1, 4 do neap.sleep(0.0005) end end

describe("signal.wait", function()
  it("gives the first signal that comes, by name", function()
    for _, run in ipairs { helper.direct, in_task } do
      local task = helper.start(signal.wait, "SIGUSR1", "SIGUSR2")
      signal.raise "SIGUSR2"
      assert.equal("SIGUSR2", task:await())
      assert.equal("SIGTERM", run(function()
        neap.get_event_loop():call_later(0.001, signal.raise, "SIGTERM")
        return (signal.wait(15, signal.SIGUSR1)) -- somebody listens before it comes
      end))
    end
  end)

  it("gives the number of a signal without a name", function()
    local task = helper.start(signal.wait, 40)
    signal.raise(40)
    assert.equal(40, task:await())
  end)

  it("wakes all who wait for it, and the handler of the loop", function()
    local loop, list, add = neap.get_event_loop(), helper.log()
    loop:add_signal_handler("SIGUSR1", add, "handler")
    local tasks = {}
    for i = 1, 3 do tasks[i] = helper.start(signal.wait, "SIGUSR1") end
    signal.raise "SIGUSR1"
    assert.same({ "SIGUSR1", "SIGUSR1", "SIGUSR1", n = 3 }, neap.gather(tasks))
    look()
    assert.same({ "handler" }, list)
    assert.is_true(loop:remove_signal_handler "SIGUSR1")
    assert.is_false(loop:remove_signal_handler "SIGUSR1")
  end)

  it("leaves the handler of the loop in place, and works when that goes", function()
    local loop, list, add = neap.get_event_loop(), helper.log()
    loop:add_signal_handler("SIGUSR1", add, "handler")
    local task = helper.start(signal.wait, "SIGUSR1")
    loop:remove_signal_handler "SIGUSR1"
    signal.raise "SIGUSR1"
    assert.equal("SIGUSR1", task:await())
    loop:add_signal_handler("SIGUSR1", add, "handler")
    task = helper.start(signal.wait, "SIGUSR1")
    task:cancel()
    settle()
    signal.raise "SIGUSR1"
    while #list == 0 do neap.sleep(0.0005) end
    loop:remove_signal_handler "SIGUSR1"
  end)

  it("can be cancelled and timed out at every moment", function()
    local task = helper.start(signal.wait, "SIGUSR1")
    task:cancel()
    settle()
    assert.is_true(task:cancelled())
    assert.is_true(neap.TimeoutError:is(catch(function()
      local _ <close> = neap.timeout(0.001)
      signal.wait "SIGUSR1"
    end)))
    local _ <close> = signal.listen "SIGUSR1" -- one that comes after the end kills nobody
    assert.equal(1, test.cancel_sweep(function()
      neap.get_event_loop():call_soon(signal.raise, "SIGUSR1")
      signal.wait "SIGUSR1"
    end))
  end)

  it("puts Ctrl-C back", function()
    if arg[-1]:match("[^/]*$"):find "^lua" == nil then return end -- see the cases below
    in_task(function()
      neap.get_event_loop():call_soon(signal.raise, "SIGINT")
      assert.equal("SIGINT", signal.wait "SIGINT")
    end)
    neap.get_event_loop():call_later(0.001, signal.raise, "SIGINT")
    assert.is_true(neap.KeyboardInterrupt:is(catch(neap.sleep, 3600)))
  end)

  it("refuses what is no signal, what cannot be caught, and where it cannot wait", function()
    for _, fn in ipairs { signal.wait, signal.listen } do
      assert.matches("#1 .*unknown signal 'SIGFOO'", catch(fn, "SIGFOO"))
      assert.matches("#2 .*unknown signal 'USR1'", catch(fn, "SIGUSR1", "USR1"))
      assert.matches("#1 .*SIGKILL cannot be caught", catch(fn, "SIGKILL"))
      assert.matches("#2 .*SIGSTOP cannot be caught", catch(fn, 10, 19))
      assert.matches("#1 .*number of a signal expected", catch(fn, 0))
      assert.matches("#1 .*number of a signal expected", catch(fn, 65))
      assert.matches("#1 .*name or number of a signal expected", catch(fn, {}))
      assert.matches("#1 .*name or number of a signal expected", catch(fn))
    end
    assert.matches("^spec/signals_spec.lua:%d+: bad argument #1 to 'neap.signal.wait' ",
      catch(function() local _ = signal.wait "SIGSTOP" end))
    local err
    neap.get_event_loop():call_soon(function() err = catch(signal.wait, "SIGUSR1") end)
    settle()
    assert.matches("cannot wait in 'neap.signal.wait' inside a loop callback", err)
    -- glibc keeps two for itself
    assert.matches("#2 .*signal 32 cannot be caught", catch(signal.listen, "SIGUSR1", 32))
  end)
end)

describe("signal.listen", function()
  it("misses nothing between listen and close", function()
    local listener <close> = signal.listen("SIGUSR1", "SIGUSR2")
    signal.raise "SIGUSR2"
    signal.raise "SIGUSR1"
    signal.raise "SIGUSR2"
    look()
    assert.same({ "SIGUSR2", 2 }, { listener:wait() })
    assert.same({ "SIGUSR1", 1 }, { listener:wait() })
    signal.raise "SIGUSR1"
    assert.same({ "SIGUSR1", 1 }, { in_task(listener.wait, listener) })
    for _ = 1, 1000 do signal.raise "SIGUSR1" end
    local times = 0
    while times < 1000 do times = times + select(2, listener:wait()) end
    assert.equal(1000, times)
  end)

  it("hears while nobody waits and the loop is busy or not running", function()
    local listener <close> = signal.listen "SIGUSR1"
    signal.raise "SIGUSR1"
    in_task(function() for _ = 1, 100 do neap.sleep(0) end end)
    assert.equal("SIGUSR1", (listener:wait()))
  end)

  it("iterates, until it is closed", function()
    local list, add = helper.log()
    local listener = signal.listen("SIGUSR1", "SIGUSR1", 12)
    assert.equal("<SignalListener SIGUSR1 SIGUSR2>", tostring(listener))
    local task = helper.start(function()
      for name, times in listener do add(name .. times) end
      add "end"
    end)
    signal.raise "SIGUSR1"
    look()
    signal.raise "SIGUSR2"
    look()
    listener:close()
    task:await()
    assert.same({ "SIGUSR11", "SIGUSR21", "end" }, list)
    assert.is_nil((listener()))
    assert.is_true(listener:is_closed())
    assert.equal("<SignalListener closed>", tostring(listener))
    listener:close()
    assert.matches("closed signal listener", catch(listener.wait, listener))
  end)

  it("gives nil and an error to who waits when it is closed", function()
    local listener = signal.listen "SIGUSR1"
    local task = helper.start(listener.wait, listener)
    listener:close()
    local value, err = task:await()
    assert.is_nil(value)
    assert.is_true(neap.OSError:is(err))
    assert.same({ "EBADF", "wait", "wait: the signal listener is closed" },
      { err.code, err.op, err.message })
  end)

  it("gives one signal to one of several who wait, also when that one is cancelled", function()
    local listener <close> = signal.listen("SIGUSR1", "SIGUSR2")
    local a = helper.start(listener.wait, listener)
    local b = helper.start(listener.wait, listener)
    local loop = neap.get_event_loop()
    local other <close> = signal.listen "SIGUSR2"
    signal.raise "SIGUSR1"
    loop:call_soon(function() end)
    while not (a:done() or b:done()) do neap.sleep(0) end
    assert.is_true(a:done() and not b:done())
    signal.raise "SIGUSR2"
    other:wait() -- b is woken as well
    b:cancel()
    settle()
    assert.equal("SIGUSR2", b:cancelled() and (listener:wait()) or b:result())
  end)

  it("passes on what a cancelled task was woken for", function()
    local listener <close> = signal.listen "SIGUSR1"
    local tasks = {}
    for i = 1, 3 do
      tasks[i] = helper.start(listener.wait, listener)
    end
    -- the handler runs in the turn after the wake, as the task does
    local loop = neap.get_event_loop()
    signal.raise "SIGUSR1"
    local function cancel()
      if tasks[1]:done() then return end
      tasks[1]:cancel()
    end
    loop:add_signal_handler("SIGUSR1", cancel)
    look()
    assert.is_true(tasks[1]:done())
    if tasks[1]:cancelled() then
      assert.equal("SIGUSR1", (tasks[2]:await()))
      tasks[2] = tasks[3]
    end
    tasks[2]:cancel()
    tasks[3]:cancel()
    loop:remove_signal_handler "SIGUSR1"
    settle()
  end)

  it("works beside other listeners of the same signal", function()
    local a, b = signal.listen "SIGUSR1", signal.listen("SIGUSR1", "SIGUSR2")
    signal.raise "SIGUSR1"
    assert.equal("SIGUSR1", (a:wait()))
    assert.equal("SIGUSR1", (b:wait()))
    a:close()
    signal.raise "SIGUSR1"
    assert.equal("SIGUSR1", (b:wait()))
    b:close()
  end)

  it("that is idle does not hinder a deadlock report, and one that is waited for does", function()
    local listener <close> = signal.listen "SIGUSR1"
    local event = neap.Event()
    local err = catch(event.wait, event)
    assert.is_true(neap.DeadlockError:is(err))
    local task = helper.start(function()
      listener:wait()
      event:set()
    end)
    local pipe <close> = assert(io.popen "sleep 0.02; kill -USR1 $PPID")
    event:wait()
    assert.is_true(task:done())
    assert.is_true(neap.DeadlockError:is(catch(neap.Event().wait, neap.Event())))
    assert.is_not_nil(pipe)
  end)

  it("is told of in the task tree", function()
    local task = helper.start(signal.wait, "SIGUSR1", "SIGHUP")
    assert.matches("neap.signal.wait.*<SignalListener SIGUSR1 SIGHUP>",
      tostring(neap.all_tasks()))
    task:cancel()
    settle()
  end)

  it("goes with its loop, and belongs to it", function()
    local listener, task
    local other = neap.new_event_loop()
    other:set_exception_handler(function() end)
    other:run_until_complete(function() listener = signal.listen "SIGUSR1" end)
    assert.matches("another event loop", catch(listener.wait, listener))
    task = other:create_task(listener.wait, listener)
    other:run_until_complete(neap.sleep, 0)
    signal.raise "SIGUSR1"
    other:close()
    assert.is_true(listener:is_closed())
    listener:close()
    assert.is_not_nil(task)
    neap.run(function()
      listener = signal.listen "SIGUSR1"
      neap.create_task(listener.wait, listener)
      neap.sleep(0)
    end)
    assert.is_true(listener:is_closed())
  end)

  it("is closed when it is collected", function()
    for _ = 1, 100 do signal.listen("SIGUSR1", "SIGUSR2") end
    collectgarbage()
    collectgarbage()
    settle()
  end)

  it("is found by the check for what a test left behind", function()
    local leftover = require "neap.test.leftover"
    local before = leftover.snapshot()
    local listener = signal.listen "SIGUSR1"
    assert.matches("a handle of libuv: signal", table.concat(leftover.since(before), "\n"))
    listener:close()
    assert.same({}, leftover.since(before))
  end)

  it("loses nothing in a cancel sweep", function()
    local listener <close> = signal.listen "SIGUSR1"
    local came = 0
    test.cancel_sweep(function()
      signal.raise "SIGUSR1"
      came = came + 1
      for _, times in listener do
        came = came - times
        if came <= 0 then break end
      end
    end)
    assert.equal(0, came)
  end)
end)

describe("signal", function()
  it("has numbers and names", function()
    assert.same({ 15, 9, 2, 28 },
      { signal.SIGTERM, signal.SIGKILL, signal.SIGINT, signal.SIGWINCH })
    assert.equal("SIGTERM", signal.name(15))
    assert.is_nil(signal.name(40))
    assert.equal(15, signal.number "SIGTERM")
    assert.matches("unknown signal", catch(signal.number, "SIGFOO"))
  end)

  it("sends to other processes", function()
    local pipe <close> = assert(io.popen "echo $$; exec sleep 10")
    local pid = math.tointeger(pipe:read "n")
    assert.is_true(signal.send(pid, 0))
    assert.is_true(signal.send(pid, "SIGTERM"))
    pipe:read "a"
    local ok, err = signal.send(1 << 30, "SIGTERM")
    assert.is_nil(ok)
    assert.same({ "ESRCH", "kill" }, { err.code, err.op })
    assert.matches("#2 .*unknown signal", catch(signal.send, pid, "x"))
    assert.matches("#1 .*number expected", catch(signal.send, "x", 15))
    assert.matches("#1 .*number of a process", catch(signal.send, 1 << 40, 15))
  end)
end)

describe("signals in the host #host", function()
  local function check(expected, script)
    local result = helper.run([[
      local neap = require "neap"
      local signal = require "neap.signal"
    ]] .. script)
    assert.same(expected, { result.out, result.err, result.code })
  end

  it("that a task waits for keep the program alive, those listened for do not", function()
    check({ "end\nSIGUSR1\n", "", 0 }, [[
      neap.create_task(function() print(signal.wait "SIGUSR1") end)
      neap.sleep(0) -- it listens before the signal comes
      local idle = signal.listen "SIGUSR2"
      io.popen "sleep 0.05; kill -USR1 $PPID"
      print "end"
      _G.idle = idle
    ]])
  end)

  it("SIGINT and SIGTERM are theirs meanwhile, and the host's afterwards", function()
    check({ "SIGINT\nSIGTERM\nKeyboardInterrupt\n", "", 0 }, [[
      neap.create_task(function() neap.sleep(0) signal.raise "SIGINT" end)
      print(signal.wait "SIGINT")
      do
        local l <close> = signal.listen "SIGTERM"
        signal.raise "SIGTERM"
        print((l:wait()))
      end
      neap.create_task(function() neap.sleep(0) signal.raise "SIGINT" end)
      print(select(2, pcall(neap.sleep, 10)))
    ]])
  end)

  it("end it at once when nobody listens any more", function()
    check({ "", "", 143 }, [[
      signal.listen("SIGTERM"):close()
      signal.raise "SIGTERM"
      neap.sleep(10)
      print "not reached"
    ]])
  end)

  it("may be under way at the end", function()
    check({ "", "", 3 }, [[
      neap.create_task(function() signal.wait("SIGINT", "SIGTERM") end)
      neap.sleep(0)
      signal.raise "SIGINT" signal.raise "SIGTERM"
      os.exit(3, true)
    ]])
  end)
end)
