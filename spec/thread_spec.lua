--- Threads with a loop of their own, and what can be asked of a loop from another thread.

local neap = require "neap"
local thread = require "neap.thread"
local helper = require "spec.helper"
local catch = helper.catch

describe("thread.start", function()
  it("runs a copy of the function, and join gives its results", function()
    local n = 5
    local t = assert(thread.start(function(a, b) return n + a, b, nil end, 2, { x = 1 }))
    local results = table.pack(t:join())
    assert.same({ 7, { x = 1 }, n = 3 }, results)
    assert.is_false(t:is_alive())
    assert.same({ 7, { x = 1 }, n = 3 }, table.pack(t:join()))
  end)

  it("shares nothing", function()
    local list = { 1 }
    local t = thread.start(function() list[1] = 2; leaked = true; return list[1] end) -- luacheck: ignore
    assert.equal(2, t:join())
    assert.equal(1, list[1])
    assert.is_nil(rawget(_G, "leaked"))
  end)

  it("is seen to end by a loop that is busy with its own", function()
    local t = thread.start(function() return 1 end)
    while t:is_alive() do neap.sleep(0) end
    assert.equal(1, t:join())
  end)

  it("leaves the loop free meanwhile", function()
    local first, second = thread.Channel(1), thread.Channel(1)
    local t = thread.start(function() first:send "there"; return second:recv() end)
    assert.equal("there", first:recv())
    assert.is_true(t:is_alive())
    second:send "back"
    assert.equal("back", t:join())
  end)

  it("runs it as a task of a loop of its own", function()
    local t = thread.start(function()
      local other = neap.create_task(function() neap.sleep(0.001); return "done" end)
      return tostring(neap.current_task()):match "^<Task" ~= nil, other:await()
    end)
    assert.same({ true, "done" }, { t:join() })
  end)

  it("cancels what else runs there when it has returned", function()
    local said = thread.Channel()
    local t = thread.start(function()
      neap.create_task(function()
        local guard <close> = setmetatable({}, { __close = function() said:send "closed" end }) -- luacheck: ignore
        neap.Future():await()
      end)
      neap.sleep(0)
    end)
    t:join()
    assert.equal("closed", said:recv())
  end)

  it("raises errors with both tracebacks", function()
    local function deep() error { code = 7 } end
    local t = thread.start(function() neap.sleep(0); deep() end)
    local ok, err = pcall(t.join, t)
    assert.is_false(ok)
    assert.same({ code = 7 }, err)
    local text
    local task = neap.create_task(function() thread.start(function() deep() end):join() end)
    neap.wait { task }
    text = task:traceback()
    task:exception()
    assert.matches("in upvalue 'deep'", text)
    assert.matches("in thread 'thread%-%d+'", text)
    assert.matches("in method 'join'", text)
  end)

  it("keeps the classes of errors", function()
    local t = thread.start(function() error(neap.TimeoutError "late") end)
    local err = catch(t.join, t)
    assert.is_true(neap.TimeoutError:is(err))
    assert.equal("late", err.message)
  end)

  it("reports an error that nobody joins", function()
    local t = thread.start(function() error "nobody looks" end)
    t.loop:join()
    t = nil -- luacheck: ignore
    collectgarbage()
    collectgarbage()
    helper.settle()
    local list = helper.reports.take()
    assert.equal(1, #list)
    assert.matches("nobody looks", tostring(list[1].exception))
  end)

  it("refuses what cannot cross, and names the place", function()
    local co = coroutine.create(print)
    local err = catch(thread.start, function() end, 1, { list = { co } })
    assert.matches("argument 3%.list%[1%]", err)
    assert.matches("coroutine", err)
    err = catch(thread.start, function() return co end)
    assert.matches("argument 1.*co", err)
    assert.matches("function expected, got number", catch(thread.start, 1))
  end)

  it("fails where the results cannot cross", function()
    local t = thread.start(function() return 1, { co = coroutine.create(print) } end)
    assert.matches("result 2%.co", catch(t.join, t))
  end)

  it("leaves the thread alone when a join is cancelled", function()
    local go = thread.Channel(1)
    local t = thread.start(function() return go:recv() end)
    local task = neap.create_task(t.join, t)
    neap.sleep(0)
    task:cancel()
    neap.wait { task }
    assert.is_true(task:cancelled())
    go:send "went on"
    assert.equal("went on", t:join())
  end)

  it("may be joined together with others", function()
    local function add(a, b) return a + b end
    assert.same({ 3, 7 }, { neap.gather(thread.start(add, 1, 2), thread.start(add, 3, 4)) })
    local list = neap.gather { thread.start(add, 1, 0), thread.start(add, 2, 0) }
    assert.same({ 1, 2, n = 2 }, list)
    assert.equal(5, neap.wait_for(thread.start(add, 2, 3), 60))
  end)

  it("has methods that know a wrong object", function()
    for _, name in ipairs { "join", "cancel", "stop", "is_alive" } do
      local t <close> = thread.start(neap.sleep, 0)
      local err = catch(function() t[name]() end)
      assert.matches("thread_spec.lua:%d+: bad argument #1 to '" .. name
        .. "' %(neap.Thread expected, got nil%)", err)
    end
  end)
end)

describe("Thread:cancel", function()
  it("raises CancelledError where the function waits", function()
    local said = thread.Channel()
    local t = thread.start(function()
      local ok, err = pcall(function() said:send "ready"; neap.Future():await() end)
      -- One that waits would raise it.
      said:try_send(neap.CancelledError:is(err) and not ok and err.message)
      error(err, 0)
    end)
    assert.equal("ready", said:recv())
    assert.is_true(t:cancel "enough of it")
    assert.equal("enough of it", said:recv())
    local err = catch(t.join, t)
    assert.is_true(neap.CancelledError:is(err))
    assert.equal("enough of it", err.message)
    assert.is_false(t:cancel())
  end)

  it("may come before it has begun", function()
    local t = thread.start(function() neap.Future():await() end) -- it may just have begun
    t:cancel()
    assert.is_true(neap.CancelledError:is(catch(t.join, t)))
  end)
end)

-- A thread whose function waits for `go` when it is closed; it says what it does.
local function slow_to_close()
  local said, go = thread.Channel(), thread.Channel()
  local t = thread.start(function()
    neap.create_task(function()
      local _, err = pcall(function() neap.Future():await() end)
      said:try_send "the other is cancelled"
      error(err, 0)
    end)
    neap.sleep(0)
    local guard <close> = setmetatable({}, { -- luacheck: ignore
      __close = function()
        said:send "closing"
        go:recv()
        said:send "closed"
      end,
    })
    said:send "ready"
    neap.Future():await()
  end)
  assert.equal("ready", said:recv())
  return t, said, go
end

describe("Thread:cancel", function()
  it("leaves the function all the time to close what it has, and the rest alone", function()
    local t, said, go = slow_to_close()
    assert.is_true(t:cancel())
    assert.equal("closing", said:recv())
    neap.sleep(0.002) -- a stop would be there by now
    go:send(true)
    assert.equal("closed", said:recv())
    assert.is_true(neap.CancelledError:is(catch(t.join, t)))
  end)
end)

describe("Thread:stop", function()
  it("says so where it cannot wait for the end", function()
    local t = thread.start(function() neap.Future():await() end)
    local err = catch(neap.run, function() t:stop() end) -- in a loop that has not started it
    assert.matches("another event loop", err)
    catch(t.join, t)
  end)

  it("does not cancel a second time what is closing", function()
    local t, said, go = slow_to_close()
    t:cancel()
    assert.equal("closing", said:recv())
    local task = helper.start(t.stop, t, 60)
    assert.equal("the other is cancelled", said:recv())
    go:send(true)
    assert.equal("closed", said:recv())
    assert.is_true(task:await())
  end)

  it("lets a function that waits end in order", function()
    local said = thread.Channel()
    local t = thread.start(function()
      local guard <close> = setmetatable({}, { -- luacheck: ignore
        __close = function() neap.sleep(0); said:send "in order" end,
      })
      said:send "ready"
      neap.Future():await()
    end)
    said:recv()
    assert.is_true(t:stop())
    assert.equal("in order", said:recv())
    assert.is_true(t:stop())
  end)

  -- A thread whose function is at `stuck`.
  local function stuck_one(stuck)
    local said = thread.Channel(1)
    local t = thread.start(function() said:send "ready"; stuck() end)
    said:recv()
    return t
  end

  it("closes a function that catches its cancellation again and again", function()
    local t = stuck_one(function() while true do pcall(neap.sleep, 0.0001) end end)
    assert.is_true(t:stop(10))
    helper.settle()
    local list = helper.reports.take()
    assert.equal("Task was destroyed but it is pending!", list[1].message)
    assert.equal(t.name, list[1].thread)
    assert.matches("Task%-1", list[1].report)
  end)

  it("interrupts one that is stuck #stuck", function()
    local t = stuck_one(function() while true do end end)
    assert.is_false(t:stop(0.01))
    assert.is_false(t:is_alive())
    assert.is_true(neap.CancelledError:is(catch(t.join, t)))
  end)

  for name, stuck in pairs {
    ["catches everything"] = function()
      while true do pcall(function() while true do end end) end
    end,
    ["catches everything, in coroutines"] = function()
      while true do
        pcall(coroutine.wrap(function()
          while true do pcall(function() while true do end end) end
        end))
      end
    end,
    ["is stuck in a <close> handler"] = function()
      local guard <close> = setmetatable({}, { -- luacheck: ignore
        __close = function() while true do end end,
      })
      neap.Future():await()
    end,
  } do
    it("interrupts one that " .. name .. " #stuck", function()
      local t = stuck_one(stuck)
      assert.is_false(t:stop(0.01))
      assert.is_false(t:is_alive())
    end)
  end

  it("interrupts a callback that is stuck #stuck", function()
    local loop = thread.start_loop()
    loop:call_soon_threadsafe(function() while true do end end)
    local core = require "neap.core.thread"
    loop:stop()
    while core.is_alive(loop) do
      core.interrupt(loop)
      neap.sleep(0.002)
    end
    assert.is_true(loop:is_closed())
  end)

  it("ends the thread also where the task has swallowed its cancellation", function()
    local t = thread.start(function() neap.Future():await() end)
    local err
    local task = neap.create_task(function()
      pcall(neap.sleep, 100)
      err = catch(t.stop, t)
    end)
    neap.sleep(0)
    task:cancel()
    neap.wait { task }
    assert.is_true(neap.CancelledError:is(err))
    while t:is_alive() do neap.sleep(0.001) end
  end)

  it("is refused in a loop callback, and changes nothing", function()
    local t <close> = thread.start(function() neap.Future():await() end)
    local loop <close> = assert(thread.start_loop())
    local errors, done = {}, neap.Event()
    neap.get_event_loop():call_soon(function()
      errors = { catch(t.stop, t), catch(t.join, t), catch(loop.close, loop) }
      done:set()
    end)
    done:wait()
    assert.matches("cannot wait in 'Thread:stop' inside a loop callback", errors[1])
    assert.matches("cannot wait in 'Thread:join' inside a loop callback", errors[2])
    assert.matches("cannot wait in 'close' inside a loop callback", errors[3])
    assert.is_true(t:cancel()) -- nobody has, so far
    assert.equal(7, neap.run_coroutine_threadsafe(function() return 7 end, loop):await())
  end)

  it("comes with <close>", function()
    local kept
    do
      local t <close> = thread.start(function() neap.Future():await() end)
      kept = t
    end
    assert.is_false(kept:is_alive())
  end)

  it("checks its argument", function()
    local t <close> = thread.start(function() end)
    assert.matches("seconds expected", catch(t.stop, t, "soon"))
    assert.matches("seconds expected", catch(t.stop, t, -1))
  end)
end)

describe("loop:close", function()
  it("interrupts what does not come back to the loop #stuck", function()
    local ready = thread.Channel()
    local future
    do
      local loop <close> = assert(thread.start_loop())
      future = neap.run_coroutine_threadsafe(function()
        ready:send(true)
        while true do pcall(function() while true do end end) end
      end, loop)
      ready:recv()
    end
    neap.wait { future }
    assert.is_true(future:cancelled() or neap.BrokenExecutor:is(future:exception()))
  end)

  it("leaves tasks that clean up their time #slow", function()
    local said = thread.Channel()
    local loop = assert(thread.start_loop())
    neap.run_coroutine_threadsafe(function()
      local guard <close> = setmetatable({}, { -- luacheck: ignore
        __close = function()
          neap.sleep(1.5) -- longer than one may be away from the loop
          said:send "clean"
        end,
      })
      said:send "ready"
      neap.Future():await()
    end, loop)
    said:recv()
    loop:close()
    assert.equal("clean", said:try_recv())
  end)
end)

describe("a thread ends with the loop that started it", function()
  it("in order", function()
    local said = thread.Channel()
    neap.new_event_loop():close()
    local loop = neap.new_event_loop()
    loop:run_until_complete(function()
      thread.start(function()
        local guard <close> = setmetatable({}, { -- luacheck: ignore
          __close = function() said:send "closed" end,
        })
        said:send "ready"
        neap.Future():await()
      end)
      assert.equal("ready", said:recv())
    end)
    loop:close()
    assert.equal("closed", said:recv())
  end)

  it("also when it is stuck #host", function()
    local result = helper.run([[
      local thread = require "neap.thread"
      thread.start(function() while true do end end)
      os.exit(3)
    ]])
    assert.equal(3, result.code)
  end)
end)

it("os.exit in a thread that is joined ends the program with its code #host", function()
  local result = helper.run([[
    local thread = require "neap.thread"
    local function threads()
      local pipe <close> = io.popen "ls /proc/$PPID/task | wc -l"
      return pipe:read "n"
    end
    local loop <close> = thread.start_loop() -- the loop here, with all that it needs
    local before = threads()
    local t = thread.start(function() os.exit(7) end)
    while threads() > before do end -- so that all of its mails are there
    t:join()
  ]])
  assert.equal("", result.err)
  assert.equal(7, result.code)
end)

it("os.exit in a thread whose end is seen first ends the program with its code #host", function()
  local result = helper.run([[
    local neap = require "neap"
    local t = require "neap.thread".start(function() os.exit(7) end)
    while t:is_alive() do neap.sleep(0) end
    t:join()
  ]])
  assert.equal("", result.err)
  assert.equal(7, result.code)
end)

it("thread.start tells of what cannot cross with its place, once", function()
  local err = catch(function() thread.start(print, coroutine.create(print)) end)
  assert.matches("^[^:]*thread_spec%.lua:%d+: argument 2: a coroutine", err)
end)

it("thread.start_loop checks its options", function()
  assert.matches("unknown option 'nam' to 'neap.thread.start_loop'",
    catch(thread.start_loop, { nam = "x" }))
  assert.matches("bad option 'name'", catch(thread.start_loop, { name = 1 }))
  assert.matches("bad option 'memory_limit'", catch(thread.start_loop, { memory_limit = 0 }))
  assert.matches("table expected, got string", catch(thread.start_loop, "x"))
end)

it("a thread's name shows", function()
  local t <close> = thread.start(function() end)
  assert.matches("^<Thread thread%-%d+ %a+>$", tostring(t))
  assert.matches("^thread%-%d+$", t.name)
end)

describe("the end of a block", function()
  it("is waited for also where a cancellation was swallowed", function()
    local t, loop
    local task = neap.create_task(function()
      local one <close> = assert(thread.start(function() neap.Future():await() end))
      local two <close> = assert(thread.start_loop())
      t, loop = one, two
      pcall(neap.sleep, 100)
    end)
    neap.sleep(0)
    task:cancel()
    neap.wait { task }
    assert.is_false(t:is_alive())
    assert.is_true(loop:is_closed())
  end)
end)

describe("a loop's handle", function()
  it("is closed by who has started its thread alone", function()
    local loop <close> = assert(thread.start_loop())
    local t = thread.start(function() loop:close() end)
    assert.matches("was not started here", catch(t.join, t))
    assert.is_false(loop:is_closed())
  end)

  it("takes nothing any more while its loop is being closed", function()
    local said = thread.Channel(1)
    neap.run(function()
      local here = neap.get_running_loop()
      local ready = thread.Channel(1)
      thread.start(function()
        local guard <close> = setmetatable({}, { __close = function() -- luacheck: ignore
          local ok, err = pcall(neap.run_coroutine_threadsafe, neap.sleep, here, 0)
          said:try_send { ok, err, here:is_closed() }
        end })
        ready:send(true)
        neap.Future():await()
      end)
      ready:recv()
    end)
    local ok, err, closed = table.unpack((said:recv()))
    assert.is_false(ok)
    assert.matches("Event loop is closed", err)
    assert.is_true(closed)
  end)

  it("shows in reports for whose end somebody waits", function()
    local loop <close> = assert(thread.start_loop { name = "helper" })
    local task = neap.create_task(loop.join, loop)
    neap.sleep(0)
    assert.matches("waiting in 'join' for thread 'helper'", neap.get_event_loop():dump())
    task:cancel()
    neap.wait { task }
  end)
end)

it("a thread that has no memory to start is reported", function()
  local loop = thread.start_loop { memory_limit = 1000 }
  loop:join()
  helper.settle()
  local list = helper.reports.take()
  assert.equal("A thread could not start", list[1].message)
  assert.matches("not enough memory", list[1].report)
end)
