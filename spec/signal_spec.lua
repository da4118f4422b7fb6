--- Handlers of signals: callbacks of the loop.

local neap = require "neap"
local core = require "neap.core.test"
local signal = require "neap.signal"
local helper = require "spec.helper"

-- In the host the second Ctrl-C ends the process: see the cases at the end.
local stock = arg[-1]:match("[^/]*$"):find "^lua" ~= nil

--- Sends a signal to this thread: it has come when this is over. (One that another process
--- sends while this one starts that may be taken by another thread, at any time later.)
local function send(name, times)
  for _ = 1, times or 1 do signal.raise("SIG" .. name) end
end

--- Has it sent once the loop runs, and what called this waits. The pipe is to be closed.
local function send_later(name)
  local pipe = assert(io.popen("read _; kill -" .. name .. " $PPID", "w"))
  pipe:setvbuf "no"
  neap.get_event_loop():call_soon(pipe.write, pipe, "\n") -- no Lua code runs there
  return pipe
end

describe("loop:add_signal_handler", function()
  local loop, log, add
  before_each(function()
    loop = neap.get_event_loop()
    log, add = helper.log()
  end)
  after_each(function()
    for _, name in ipairs { "SIGUSR1", "SIGUSR2", "SIGINT", "SIGTERM", "SIGHUP" } do
      loop:remove_signal_handler(name)
    end
  end)

  --- Waits for as many entries of the log, as long as it takes.
  local function wait_for(n)
    while #log < n do neap.sleep(0.001) end
  end

  it("calls the function with its arguments, for every signal", function()
    assert.is_nil(loop:add_signal_handler("SIGUSR1", function(...)
      add { n = select("#", ...), ... }
    end, 1, nil))
    send "USR1"
    wait_for(1)
    send "USR1"
    wait_for(2)
    assert.same({ { n = 2, 1 }, { n = 2, 1 } }, log)
  end)

  it("takes numbers", function()
    loop:add_signal_handler(15, add, "TERM")
    send "TERM"
    wait_for(1)
    assert.is_true(loop:remove_signal_handler "SIGTERM")
    assert.is_false(loop:remove_signal_handler(15))
  end)

  it("runs it in the loop, not where the signal comes", function()
    loop:add_signal_handler("SIGUSR1", add, "handler")
    send "USR1"
    add "after the signal"
    wait_for(2)
    assert.same({ "after the signal", "handler" }, log)
  end)

  it("wakes a task, a main chunk and a run that wait", function()
    local event = neap.Event()
    loop:add_signal_handler("SIGUSR1", event.set, event)
    local _pipe <close> = assert(io.popen "sleep 0.05; kill -USR1 $PPID")
    event:wait() -- no deadlock
    event:clear()
    send "USR1"
    assert.is_true(helper.in_task(event.wait, event))
    event:clear()
    send "USR1"
    assert.is_true(loop:run_until_complete(event.wait, event))
    loop:add_signal_handler("SIGUSR1", loop.stop, loop)
    send "USR1"
    loop:run_forever()
  end)

  it("is looked for while tasks keep the loop busy", function()
    local seen = false
    loop:add_signal_handler("SIGUSR1", function() seen = true end)
    send "USR1"
    helper.in_task(function()
      while not seen do neap.sleep(0) end
    end)
    assert.is_true(seen)
  end)

  it("can start tasks, and cannot wait", function()
    local future = neap.Future()
    loop:add_signal_handler("SIGUSR1", function()
      add(helper.catch(neap.sleep, 0))
      neap.create_task(function()
        neap.sleep(0)
        future:set_result()
      end)
    end)
    send "USR1"
    future:await()
    assert.matches("inside a loop callback", log[1])
  end)

  it("keeps the order of signals that were waiting, and misses none of them", function()
    loop:add_signal_handler("SIGUSR1", add, "one")
    loop:add_signal_handler("SIGUSR2", add, "two")
    send "USR1"
    send "USR2"
    send "USR1"
    wait_for(3)
    table.sort(log)
    assert.same({ "one", "one", "two" }, log)
  end)

  it("reports an error of it, and calls it again", function()
    local contexts = {}
    loop:set_exception_handler(function(_, context)
      contexts[#contexts + 1] = context
      add(context.exception)
    end)
    loop:add_signal_handler("SIGUSR1", error, "oops", 0)
    for i = 1, 2 do
      send "USR1"
      wait_for(i)
      assert.equal("Exception in callback", contexts[i].message)
      assert.equal("oops", contexts[i].exception)
      assert.matches("^<Handle, created at .*signal_spec.lua:%d+>$", tostring(contexts[i].handle))
    end
  end)

  it("does not call one whose Handle was cancelled", function()
    local handle
    loop:set_exception_handler(function(_, context) handle = context.handle end)
    loop:add_signal_handler("SIGUSR1", function() add "one" error "x" end)
    send "USR1"
    wait_for(1)
    handle:cancel()
    send "USR1"
    loop:add_signal_handler("SIGUSR2", add, "end")
    send "USR2"
    wait_for(2)
    assert.same({ "one", "end" }, log)
    assert.is_true(loop:remove_signal_handler "SIGUSR1")
  end)

  it("takes the place of the one before", function()
    local gone = setmetatable({}, { __mode = "v" })
    gone[1] = {}
    loop:add_signal_handler("SIGUSR1", add, gone[1])
    loop:add_signal_handler("SIGUSR1", add, "new")
    collectgarbage()
    collectgarbage()
    assert.is_nil(gone[1])
    send "USR1"
    wait_for(1)
    assert.same({ "new" }, log)
    assert.is_true(loop:remove_signal_handler "SIGUSR1")
    assert.is_false(loop:remove_signal_handler "SIGUSR1")
  end)

  it("can be replaced and removed by the handler itself", function()
    loop:add_signal_handler("SIGUSR1", function()
      add "one"
      loop:add_signal_handler("SIGUSR1", function()
        add "two"
        add(loop:remove_signal_handler "SIGUSR1")
        collectgarbage()
      end)
      collectgarbage()
    end)
    send "USR1"
    wait_for(1)
    send "USR1"
    wait_for(3)
    assert.same({ "one", "two", true }, log)
    assert.is_false(loop:remove_signal_handler "SIGUSR1")
  end)

  it("still calls it for a signal that came before the removal", function()
    loop:add_signal_handler("SIGUSR1", add, "called")
    loop:add_signal_handler("SIGUSR2", function()
      add(loop:remove_signal_handler "SIGUSR1")
    end)
    send "USR2"
    send "USR1"
    wait_for(2)
    helper.settle()
    assert.same({ true, "called" }, log)
  end)

  it("runs it in the context in which it was added", function()
    local var = neap.ContextVar("var", "default")
    var:set "added"
    loop:add_signal_handler("SIGUSR1", function() add(var:get()) end)
    var:set "later"
    send "USR1"
    wait_for(1)
    assert.same({ "added" }, log)
    var:set(nil)
  end)

  it("refuses what is no signal, what cannot be caught, and what cannot be called", function()
    local function fails(...) return helper.catch(loop.add_signal_handler, loop, ...) end
    assert.matches("#2 .*unknown signal 'SIGFOO'", fails("SIGFOO", print))
    assert.matches("#2 .*unknown signal 'USR1'", fails("USR1", print))
    assert.matches("#2 .*SIGKILL cannot be caught", fails("SIGKILL", print))
    assert.matches("#2 .*SIGSTOP cannot be caught", fails(19, print))
    assert.matches("#2 .*number of a signal expected", fails(0, print))
    assert.matches("#2 .*number of a signal expected", fails(-1, print))
    assert.matches("#2 .*number of a signal expected", fails(1 << 40, print))
    assert.matches("#2 .*no integer representation", fails(1.5, print))
    assert.matches("#2 .*name or number of a signal expected, got nil", fails(nil, print))
    assert.matches("#3 .*function expected", fails("SIGUSR1", 1))
    assert.matches("#3 .*function expected", fails "SIGUSR1")
    assert.matches("#2 .*unknown signal", helper.catch(loop.remove_signal_handler, loop, "x"))
    assert.is_false(loop:remove_signal_handler "SIGKILL")
    assert.is_false(loop:remove_signal_handler "SIGUSR1")
  end)

  it("goes with its loop", function()
    local other = neap.new_event_loop()
    other:add_signal_handler("SIGUSR1", add, "other")
    loop:add_signal_handler("SIGUSR1", add, "loop")
    send "USR1" -- both have it, each in its own time
    wait_for(1)
    assert.same({ "loop" }, log)
    other:run_until_complete(neap.sleep, 0.01)
    assert.same({ "loop", "other" }, log)
    other:close()
    assert.matches("closed", helper.catch(other.add_signal_handler, other, "SIGUSR1", add))
    send "USR1"
    wait_for(3)
    assert.same({ "loop", "other", "loop" }, log)
  end)

  it("is not called any more when its loop closes with a signal under way", function()
    local other = neap.new_event_loop()
    other:add_signal_handler("SIGUSR1", add, "x")
    send("USR1", 3)
    other:close()
    helper.settle()
    assert.same({}, log)
  end)

  it("does not hinder a deadlock report once it is removed", function()
    loop:add_signal_handler("SIGUSR1", add)
    loop:remove_signal_handler "SIGUSR1"
    local event = neap.Event()
    assert.is_true(neap.DeadlockError:is(helper.catch(event.wait, event)))
    assert.is_true(neap.DeadlockError:is(helper.catch(loop.run_forever, loop)))
  end)

  it("lets the virtual clock jump", function()
    loop:add_signal_handler("SIGUSR1", add)
    core.freeze(true)
    local start = loop:time()
    local task = neap.create_task(neap.sleep, 3600)
    neap.sleep(7200)
    assert.equal(7200, math.floor(loop:time() - start + 0.5))
    core.thaw()
    assert.is_true(task:done())
  end)

  it("can be added and removed 1,000 times", function()
    for _ = 1, 1000 do
      loop:add_signal_handler("SIGUSR1", add)
      loop:remove_signal_handler "SIGUSR1"
    end
    loop:add_signal_handler("SIGUSR1", add, "still works")
    send "USR1"
    wait_for(1)
  end)

  it("takes the place of Ctrl-C, until it is removed", function()
    local function check_interrupt()
      if not stock then return end
      local _pipe <close> = send_later "INT"
      assert.is_true(neap.KeyboardInterrupt:is(helper.catch(neap.sleep, 3600)))
    end
    check_interrupt()
    loop:add_signal_handler("SIGINT", add, "INT")
    send "INT"
    wait_for(1)
    loop:remove_signal_handler "SIGINT"
    check_interrupt()
    helper.in_task(function() -- while the loop runs
      loop:add_signal_handler("SIGINT", add, "INT")
      neap.sleep(0)
      send "INT"
      wait_for(2)
    end)
    send "INT" -- while it does not
    wait_for(3)
    helper.in_task(function()
      loop:remove_signal_handler "SIGINT"
      neap.sleep(0)
    end)
    check_interrupt()
  end)
end)

describe("A handler in the host", function()
  local send_usr1 = [[
    local neap = require "neap"
    local loop = neap.get_event_loop()
    local function send(name) require "neap.signal".raise("SIG" .. name) end
    local function send_later(name) -- when the loop runs
      local pipe = io.popen("read _; kill -" .. name .. " $PPID", "w")
      pipe:setvbuf "no"
      loop:call_soon(pipe.write, pipe, "\n")
      _G.pipe = pipe
    end
  ]]

  local function check(expected, script)
    local result = helper.run(send_usr1 .. script)
    assert.same(expected, { result.out, result.err, result.code })
  end

  it("does not keep it running", function()
    check({ "end\n", "", 0 }, [[
      loop:add_signal_handler("SIGUSR1", print)
      neap.create_task(neap.sleep, 0.01)
      print "end"
    ]])
  end)

  it("keeps a task that waits from being a deadlock", function()
    check({ "end\ngot it\n", "", 0 }, [[
      local event = neap.Event()
      loop:add_signal_handler("SIGUSR1", event.set, event)
      neap.create_task(function()
        event:wait()
        print "got it"
      end)
      io.popen "sleep 0.05; kill -USR1 $PPID"
      print "end"
    ]])
  end)

  it("does not hold up a shutdown", function()
    local result = helper.run(send_usr1 .. [[
      loop:add_signal_handler("SIGUSR1", print)
      neap.create_task(function()
        while true do pcall(neap.Event().wait, neap.Event()) end
      end)
      neap.sleep(0)
      error "ends here"
    ]])
    assert.equal(1, result.code)
    assert.matches("ends here", result.err)
  end)

  it("gives SIGTERM back when it is removed, and when its loop closes", function()
    check({ "TERM\nTERM\n", "", 143 }, [[
      loop:add_signal_handler("SIGTERM", print, "TERM")
      send "TERM"
      neap.sleep(0.01)
      loop:remove_signal_handler "SIGTERM"
      neap.run(function()
        neap.get_running_loop():add_signal_handler("SIGTERM", print, "TERM")
        send "TERM"
        neap.sleep(0.01)
      end)
      send "TERM"
      neap.sleep(10)
      print "not reached"
    ]])
  end)

  it("gives Ctrl-C back", function()
    check({ "INT\nKeyboardInterrupt\n", "", 0 }, [[
      neap.create_task(function()
        loop:add_signal_handler("SIGINT", print, "INT")
        send "INT"
        neap.sleep(0.01)
        loop:remove_signal_handler "SIGINT"
      end):await()
      send_later "INT"
      print(select(2, pcall(neap.sleep, 10)))
    ]])
  end)

  it("leaves a second Ctrl-C after its end deadly", function()
    check({ "INT\n", "", 130 }, [[
      loop:add_signal_handler("SIGINT", print, "INT")
      send "INT"
      neap.sleep(0.01)
      loop:remove_signal_handler "SIGINT"
      send_later "INT"
      pcall(neap.sleep, 10)
      send "INT"
      print "not reached"
    ]])
  end)

  it("may be there at the end, with a signal under way", function()
    check({ "", "", 0 }, [[
      for _, name in ipairs { "SIGINT", "SIGTERM", "SIGUSR1" } do
        loop:add_signal_handler(name, print, name)
      end
      send "INT" send "TERM" send "USR1"
      os.exit(0, true)
    ]])
  end)

  it("may call os.exit", function()
    check({ "tidy\n", "", 5 }, [[
      loop:add_signal_handler("SIGTERM", os.exit, 5)
      local _tidy <close> = setmetatable({}, { __close = function() print "tidy" end })
      send "TERM"
      neap.sleep(10)
    ]])
  end)
end)
