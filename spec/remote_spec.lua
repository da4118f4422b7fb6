--- Loops in other threads: handles, callbacks, coroutines and what comes back.

local neap = require "neap"
local thread = require "neap.thread"
local helper = require "spec.helper"
local catch = helper.catch

local other
before_each(function() other = assert(thread.start_loop { name = "other" }) end)
after_each(function() other:close() end)

local function safe(fn, ...) return neap.run_coroutine_threadsafe(fn, other, ...) end

describe("a loop in another thread", function()
  it("has a handle that tells of it", function()
    assert.equal("<EventLoop remote, of thread 'other'>", tostring(other))
    assert.is_false(other:is_closed())
    other:stop()
    other:join()
    assert.is_true(other:is_closed())
    assert.equal("<EventLoop closed>", tostring(other))
    other:join() -- again
    other:close()
  end)

  it("is closed by <close>", function()
    local kept
    do
      local loop <close> = thread.start_loop()
      kept = loop
    end
    assert.is_true(kept:is_closed())
  end)

  it("cancels its tasks when it is stopped, and they close in order", function()
    local said = thread.Channel()
    local future = safe(function()
      local _guard <close> = setmetatable({}, { __close = function()
        neap.sleep(0.001)
        said:try_send "closed"
      end })
      said:send "ready"
      neap.Future():await()
    end)
    said:recv()
    other:stop()
    other:join()
    assert.equal("closed", said:recv())
    assert.is_true(neap.CancelledError:is(catch(future.await, future)))
  end)

  it("takes nothing any more when it is closed", function()
    other:close()
    assert.matches("Event loop is closed", catch(other.call_soon_threadsafe, other, print))
    assert.matches("Event loop is closed", catch(safe, print))
  end)

  it("crosses by reference, and comes home as itself", function()
    local here = neap.get_event_loop()
    local same, name = safe(function(loop, self)
      return loop, tostring(self):match "^<EventLoop running>$" and "its own"
    end, here, other):await()
    assert.equal(here, same)
    assert.equal("its own", name)
    local t = thread.start(function(loop)
      return neap.run_coroutine_threadsafe(function(a) return a + 1 end, loop, 1):await()
    end, other)
    assert.equal(2, t:join())
  end)

  it("is joined where it was started only", function()
    local t = thread.start(function(loop) loop:join() end, other)
    assert.matches("was not started here", catch(t.join, t))
  end)

  it("can be joined by several, and left by one that is cancelled", function()
    local one, two = helper.start(other.join, other), helper.start(other.join, other)
    one:cancel()
    assert.is_true(helper.is_cancelled(catch(one.await, one)))
    assert.is_false(two:done())
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, other.join, 0.001, other)))
    other:stop()
    two:await()
  end)
end)

describe("loop:call_soon_threadsafe", function()
  it("calls there, in order, while this thread is free", function()
    local done = thread.Channel()
    local here = neap.get_event_loop()
    local start = here:time()
    local function block(seconds)
      os.execute("sleep " .. seconds)
      done:send(seconds)
    end
    other:call_soon_threadsafe(block, 0.06)
    other:call_soon_threadsafe(block, 0.03)
    local ticks = 0
    local ticker = neap.create_task(function()
      while true do
        ticks = ticks + 1
        neap.sleep(0.001)
      end
    end)
    assert.same({ 0.06, 0.03 }, { done:recv(), done:recv() })
    neap.sleep(0) -- the time is that of a turn's beginning
    assert.is_true(here:time() - start >= 0.089)
    assert.is_true(ticks > 1)
    ticker:cancel()
  end)

  it("copies the function and the arguments", function()
    local done = thread.Channel()
    local list, n = { 1 }, 1
    other:call_soon_threadsafe(function(...)
      list[1], n = 2, n + 1
      done:send { select("#", ...), ... }
    end, nil, { list }, nil)
    assert.same({ 3, nil, { { 2 } }, nil }, done:recv()) -- what is shared there stays so
    assert.same({ { 1 }, 1 }, { list, n })
  end)

  it("may come from a thread that has only the handle, and be for this loop", function()
    local here = neap.get_event_loop()
    local future, seen = neap.Future(), {}
    helper.kept = function(value) -- what a call finds here is this state's own
      seen[#seen + 1] = value
      if #seen == 2 then future:set_result(true) end
    end
    other:call_soon_threadsafe(function()
      for i = 1, 2 do
        here:call_soon_threadsafe(function() require "spec.helper".kept(i) end)
      end
    end)
    future:await()
    helper.kept = nil
    assert.same({ 1, 2 }, seen)
  end)

  it("may wake who waits here for nothing else, as long as there are threads", function()
    other:close()
    local here, event = neap.new_event_loop(), neap.Event()
    here:run_until_complete(function()
      local t = thread.start(function(loop)
        neap.sleep(0.005)
        loop:call_soon_threadsafe(function() require "spec.helper".kept() end)
      end, here)
      helper.kept = function() event:set() end
      event:wait()
      helper.kept = nil
      t:join()
    end)
    -- Nobody is left who could.
    local err = catch(here.run_until_complete, here, here:create_future())
    assert.is_true(neap.DeadlockError:is(err))
    here:close()
  end)

  it("has errors reported where the thread was started", function()
    other:call_soon_threadsafe(function() error "in a call" end)
    safe(function() end):await()
    helper.settle()
    local list = helper.reports.take()
    assert.equal(1, #list)
    assert.equal("other", list[1].thread)
    assert.equal("Exception in callback", list[1].message)
    assert.matches("in a call", list[1].report)
  end)

  it("checks its arguments", function()
    assert.matches("function expected", catch(other.call_soon_threadsafe, other, 1))
    assert.matches("argument 2%[1%]: a coroutine",
      catch(other.call_soon_threadsafe, other, print, { coroutine.create(print) }))
  end)
end)

describe("neap.run_coroutine_threadsafe", function()
  it("gives all results", function()
    local future = safe(function(...) return select("#", ...), ... end, nil, 2, nil)
    assert.same({ 3, nil, 2, nil, n = 4 }, table.pack(future:await()))
  end)

  it("runs tasks there, which wait at the same time", function()
    local gate, ended = thread.Channel(), {}
    local first = safe(function() return gate:recv() end)
    local second = safe(function() gate:send "first"; return "second" end)
    for future in neap.as_completed { first, second } do ended[future:result()] = true end
    assert.same({ first = true, second = true }, ended)
  end)

  it("raises errors as they are, with the traceback from there", function()
    local function deep() error { code = 5 } end
    local task = neap.create_task(function() safe(function() deep() end):await() end)
    neap.wait { task }
    assert.same({ code = 5 }, task:exception())
    assert.matches("in upvalue 'deep'", task:traceback())
    assert.matches("in thread 'other'", task:traceback())
  end)

  it("carries a cancellation there, with its message", function()
    local said = thread.Channel()
    local future = safe(function()
      local _guard <close> = setmetatable({}, { __close = function(_, err)
        said:try_send(neap.CancelledError:is(err) and err.message)
      end })
      said:send "ready"
      neap.Future():await()
    end)
    said:recv()
    assert.is_true(future:cancel "from here")
    assert.equal("from here", said:recv())
    assert.is_true(future:cancelled())
  end)

  it("carries a cancellation back, with its message", function()
    local future = safe(function() neap.current_task():cancel "over there"; neap.sleep(0) end)
    local err = catch(future.await, future)
    assert.is_true(neap.CancelledError:is(err))
    assert.equal("over there", err.message)
    assert.is_true(future:cancelled())
  end)

  it("is over in time with a time-out", function()
    local future = safe(function() neap.Future():await() end)
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, future, 0.001)))
    assert.is_true(future:cancelled())
  end)

  it("does not begin with what was cancelled before", function()
    local gate, began = thread.Channel(), thread.Channel()
    other:call_soon_threadsafe(function() while not gate:try_recv() do end end)
    local future = safe(function() began:send(true) end)
    future:cancel()
    gate:send(true)
    safe(function() end):await()
    assert.is_nil((began:try_recv()))
  end)

  it("is a task of this thread's loop where that is given", function()
    local list = {} -- not copied
    local task = neap.run_coroutine_threadsafe(function(v)
      list[1] = v
      return neap.sleep(0, v)
    end, neap.get_event_loop(), "here")
    assert.matches("^<Task ", tostring(task))
    assert.equal("here", task:await())
    assert.same({ "here" }, list)
  end)

  it("checks its arguments", function()
    assert.matches("bad argument #1.*function expected",
      catch(neap.run_coroutine_threadsafe, 1, other))
    assert.matches("bad argument #2", catch(neap.run_coroutine_threadsafe, print, "loop"))
    assert.matches("argument 3%.co: a coroutine",
      catch(safe, print, { co = coroutine.create(print) }))
  end)

  it("many of them come and go", function()
    local futures = {}
    for i = 1, 200 do futures[i] = safe(function(n) return neap.sleep(0, 2 * n) end, i) end
    local sum = 0
    for _, value in ipairs(neap.gather(futures)) do sum = sum + value end
    assert.equal(200 * 201, sum)
  end)
end)
