--- Waiting for a thread whose tasks nothing can wake is a deadlock, and told.

local neap = require "neap"
local thread = require "neap.thread"
local helper = require "spec.helper"
local catch = helper.catch

local function forever() neap.Future():await() end

local function is_deadlock(err, pattern)
  assert.is_true(neap.DeadlockError:is(err), tostring(err))
  assert.matches(pattern, err.message)
end

describe("who waits for a thread that is stuck", function()
  it("in join is told, with what the thread waits for", function()
    local t = thread.start(function() neap.sleep(0.001); forever() end)
    is_deadlock(catch(t.join, t),
      "the main chunk waits in.*\nin thread 'thread%-%d+', nothing can wake this task:\n"
      .. "  Task%-1 waits in 'await' at spec/stuck_spec%.lua:%d+ for <Future pending>")
    assert.is_true(t:stop())
  end)

  it("in a task is told", function()
    local t = thread.start(forever)
    local task = neap.create_task(t.join, t)
    is_deadlock(catch(task.await, task), "in thread")
    task:cancel()
    neap.wait { task }
    assert.is_true(t:stop())
  end)

  it("in the join of a loop is told", function()
    local loop = thread.start_loop()
    local future = neap.run_coroutine_threadsafe(forever, loop)
    is_deadlock(catch(loop.join, loop), "in thread 'loop%-%d+'")
    future:cancel()
    loop:close()
  end)

  it("of an executor is told", function()
    local pool <close> = thread.ThreadPoolExecutor(2)
    pool:submit(math.abs, -1):await()
    local future = pool:submit(forever)
    is_deadlock(catch(future.await, future), "in thread 'pool%-%d+%-%d+'")
    assert.is_true(future:cancelled())
    assert.equal(1, pool:submit(math.abs, -1):await())
  end)

  it("in to_thread is told", function()
    is_deadlock(catch(neap.to_thread, forever), "in thread")
  end)

  it("through a thread of the thread is told", function()
    local t = thread.start(function() thread.start(forever):join() end)
    is_deadlock(catch(t.join, t), "in thread.*in thread")
    assert.is_true(t:stop())
  end)

  it("is told of all of them", function()
    local a, b = thread.start(forever), thread.start(forever)
    local err = catch(neap.gather, { function() a:join() end, function() b:join() end })
    is_deadlock(err, "in thread.*in thread")
    assert.is_true(a:stop())
    assert.is_true(b:stop())
  end)

  it("is told at the end of the program #host", function()
    local result = helper.run [[
      require "neap.thread".start(function() require "neap".Future():await() end)
    ]]
    assert.equal(1, result.code)
    assert.matches("in thread 'thread%-1', nothing can wake this task", result.err)
  end)
end)

describe("a thread that waits for ever is none that is stuck", function()
  it("while the loop that waits can still end that", function()
    local t = thread.start(forever)
    neap.get_event_loop():call_later(0.02, t.cancel, t)
    assert.is_true(neap.CancelledError:is(catch(t.join, t)))
  end)

  it("while it can be reached by a channel", function()
    local go = thread.Channel()
    local t = thread.start(function() return go:recv() end)
    local other = thread.start(function() neap.sleep(0.02); go:send "late" end)
    assert.equal("late", t:join())
    other:join()
  end)

  it("while another thread has a handle of its loop", function()
    local t = thread.start(function() woken = neap.Future(); return woken:await() end) -- luacheck: ignore
    local other = thread.start(function(loop)
      neap.sleep(0.02)
      loop:call_soon_threadsafe(function() woken:set_result "woken" end) -- luacheck: ignore
    end, t.loop)
    assert.equal("woken", t:join())
    other:join()
  end)

  it("when a mail is on its way to it", function()
    local t = thread.start(function() woken = neap.Future(); return woken:await() end) -- luacheck: ignore
    for _ = 1, 20 do
      neap.sleep(0.001)
      t.loop:call_soon_threadsafe(function() end)
    end
    t.loop:call_soon_threadsafe(function() woken:set_result(1) end) -- luacheck: ignore
    assert.equal(1, t:join())
  end)

  it("when it waits for this one", function()
    local t = thread.start(function(loop)
      return neap.run_coroutine_threadsafe(function() neap.sleep(0.01); return "here" end, loop)
        :await()
    end, neap.get_event_loop())
    assert.equal("here", t:join())
  end)
end)
