--- Channels: what send, recv and their kin do, within one thread.

local neap = require "neap"
local test = require "neap.test"
local thread = require "neap.thread"
local helper = require "spec.helper"

local catch, settle, start = helper.catch, helper.settle, helper.start
local in_task = helper.in_task

--- All that is in a channel, without waiting.
local function drain(ch)
  local list = {}
  for v in ch.try_recv, ch do list[#list + 1] = v end
  return list
end

--- A task that receives one value and adds it, after `name`.
local function receiver(ch, add, name)
  return start(function() add((name or "") .. tostring(ch:recv())) end)
end

--- A task that sends a value, and adds that it did.
local function sender(ch, v, add)
  return start(function()
    ch:send(v)
    if add then add("sent " .. tostring(v)) end
  end)
end

describe("a channel", function()
  it("says what it is", function()
    local ch = thread.Channel(10)
    assert.equal("<Channel 0/10>", tostring(ch))
    ch:send(1)
    assert.equal("<Channel 1/10>", tostring(ch))
    assert.equal(1, #ch)
    assert.equal(10, ch:capacity())
    ch:close()
    assert.equal("<Channel 1/10 closed>", tostring(ch))
    assert.is_nil(thread.Channel():capacity())
    assert.equal("<Channel 0>", tostring(thread.Channel()))
    assert.equal(0, thread.Channel(0):capacity())
  end)

  it("gives values out in the order in which they came", function()
    for _, capacity in ipairs { false, 100 } do
      local ch = thread.Channel(capacity or nil)
      for round = 1, 3 do
        for i = 1, 30 * round do ch:send(i) end
        for i = 1, 30 * round do assert.equal(i, ch:recv()) end
      end
      assert.equal(0, #ch)
    end
  end)

  it("keeps what it is given as it is", function()
    local ch = thread.Channel()
    local values = { 1, -7, math.maxinteger, math.mininteger, 0.5, -0.0, 1e300, math.huge, true,
      false, "", "text", ("x"):rep(100000), 3.0 }
    for _, v in ipairs(values) do ch:send(v) end
    for _, v in ipairs(values) do
      local got = ch:recv()
      assert.equal(v, got)
      assert.equal(math.type(v), math.type(got))
    end
    ch:send(0 / 0)
    local nan = ch:recv()
    assert.is_true(nan ~= nan)
    ch:send(-0.0)
    assert.equal(-math.huge, 1 / ch:recv())
  end)

  it("copies tables", function()
    local ch, t = thread.Channel(), { 1, { 2 }, x = "y" }
    t.self = t
    ch:send(t)
    local copy = ch:recv()
    assert.is_true(copy ~= t and copy.self == copy)
    assert.same({ 2 }, copy[2])
    assert.equal("y", copy.x)
  end)

  it("gives channels themselves", function()
    local ch, other = thread.Channel(), thread.Channel()
    ch:send { other, ch }
    local list = ch:recv()
    assert.equal(other, list[1])
    assert.equal(ch, list[2])
  end)

  it("refuses what cannot cross, and says where it is", function()
    local ch = thread.Channel(1)
    local err = catch(ch.send, ch, { a = { coroutine.create(print) } })
    assert.matches("value%.a%[1%]: a coroutine cannot cross", tostring(err))
    assert.matches("value: ", tostring(catch(ch.try_send, ch, coroutine.create(print))))
    assert.equal(0, #ch)
  end)

  it("loses what cannot be read, and goes on with what is next", function()
    local ch = thread.Channel()
    package.preload["spec.no.such.module"] = function() return {} end
    local module = require "spec.no.such.module"
    package.preload["spec.no.such.module"] = nil
    for _ = 1, 2 do
      ch:send { module }
      ch:send "next"
    end
    package.loaded["spec.no.such.module"] = nil
    assert.matches("spec%.no%.such%.module", tostring(catch(ch.recv, ch)))
    assert.equal("next", ch:recv())
    assert.matches("spec%.no%.such%.module", tostring(catch(thread.select, { ch })))
    assert.equal("next", select(2, thread.select { ch }))
    assert.same({ nil, "empty" }, { ch:try_recv() })
  end)

  it("checks its arguments", function()
    assert.matches("#1 to '.*Channel'.*0 or more", catch(thread.Channel, -1))
    assert.matches("#1 to '.*Channel'", catch(thread.Channel, 1.5))
    assert.matches("#1 to '.*Channel'", catch(thread.Channel, "x"))
    local ch = thread.Channel()
    assert.matches("other than nil", catch(ch.send, ch))
    assert.matches("other than nil", catch(ch.send, ch, nil))
    assert.matches("other than nil", catch(ch.try_send, ch, nil))
    for _, name in ipairs { "send", "recv", "try_send", "try_recv", "iter", "close", "is_closed",
      "capacity" } do
      assert.matches("Channel expected, got table", catch(ch[name], {}, 1))
      assert.matches("Channel expected", catch(ch[name], neap.Queue(), 1))
    end
  end)

  it("costs no turn while there is no need to wait", function()
    local ch, other_ran = thread.Channel(2), false
    in_task(function()
      neap.create_task(function() other_ran = true end)
      for i = 1, 100 do
        ch:send(i)
        assert.equal(i, ch:recv())
      end
      assert.is_false(other_ran)
    end)
    settle()
  end)

  it("tells at once whether there is a place, or a value", function()
    local ch = thread.Channel(1)
    assert.same({ nil, "empty" }, { ch:try_recv() })
    assert.is_true(ch:try_send(false))
    assert.is_false(ch:try_send "b")
    assert.equal(false, ch:try_recv())
    ch:try_send "c"
    ch:close()
    assert.is_true(neap.QueueShutDown:is(catch(ch.try_send, ch, 1)))
    assert.equal("c", ch:try_recv())
    assert.same({ nil, "closed" }, { ch:try_recv() })
  end)

  it("may be used from a loop callback, without waiting", function()
    local ch, done = thread.Channel(1), neap.Future()
    neap.get_event_loop():call_soon(function()
      ch:send(1)
      local ok, err = pcall(ch.send, ch, ("x"):rep(100))
      done:set_result(ch:recv(), ok, err)
    end)
    local v, ok, err = done:await()
    assert.equal(1, v)
    assert.is_false(ok)
    assert.matches("cannot wait in 'Channel:send' inside a loop callback", err)
    assert.equal(0, #ch)
  end)

  it("lets receivers wait, first come first served #ordered", function()
    local ch, log, add = thread.Channel(), helper.log()
    for i = 1, 3 do receiver(ch, add, i .. ":") end
    for _, v in ipairs { "a", "b", "c", "d" } do ch:send(v) end
    settle()
    assert.same({ "1:a", "2:b", "3:c" }, log)
    assert.same({ "d" }, drain(ch))
  end)

  it("lets senders wait, first come first served #ordered", function()
    local ch, log, add = thread.Channel(1), helper.log()
    ch:send(0)
    for i = 1, 3 do sender(ch, i, add) end
    assert.same({}, log)
    assert.is_false(ch:try_send "late")
    for i = 0, 3 do assert.equal(i, ch:recv()) end
    settle()
    assert.same({ "sent 1", "sent 2", "sent 3" }, log)
  end)

  it("moves the value of who waits in as soon as there is a place", function()
    local ch = thread.Channel(2)
    for i = 1, 2 do ch:send(i) end
    sender(ch, 3)
    assert.equal(1, ch:recv())
    assert.equal(2, #ch) -- before the sender has run
    assert.same({ 2, 3 }, drain(ch))
    settle()
  end)

  it("of capacity 0 is a meeting", function()
    local ch, log, add = thread.Channel(0), helper.log()
    assert.is_false(ch:try_send(1))
    sender(ch, 1, add)
    settle()
    assert.same({}, log)
    assert.equal(0, #ch)
    assert.equal(1, ch:try_recv())
    settle()
    assert.same({ "sent 1" }, log)
    receiver(ch, add)
    assert.is_true(ch:try_send(2))
    assert.is_false(ch:try_send(3))
    settle()
    assert.same({ "sent 1", "2" }, log)
  end)

  it("is no worse for a long life", function()
    local ch = thread.Channel(3)
    local n, sum = helper.many(5000), 0
    local task = neap.create_task(function()
      for i = 1, n do ch:send(i) end
      ch:close()
    end)
    for v in ch:iter() do sum = sum + v end
    assert.equal(n * (n + 1) // 2, sum)
    task:await()
  end)
end)

describe("closing a channel", function()
  it("refuses what comes, gives out what is left, and is done once", function()
    local ch = thread.Channel()
    for i = 1, 3 do ch:send(i) end
    assert.is_false(ch:is_closed())
    ch:close()
    ch:close()
    assert.is_true(ch:is_closed())
    assert.is_true(neap.QueueShutDown:is(catch(ch.send, ch, 4)))
    assert.same({ 1, 2, 3 }, helper.collect(ch:iter()))
    assert.is_nil(ch:recv())
    assert.is_nil(ch:recv())
  end)

  it("ends the waits of all", function()
    local ch = thread.Channel()
    local tasks = {}
    for i = 1, 3 do tasks[i] = start(ch.recv, ch) end
    ch:close()
    for i = 1, 3 do assert.is_nil(tasks[i]:await()) end
    ch = thread.Channel(1)
    ch:send "kept"
    for i = 1, 3 do tasks[i] = start(ch.send, ch, i) end
    ch:close()
    for i = 1, 3 do
      assert.is_true(neap.QueueShutDown:is(catch(tasks[i].await, tasks[i])))
    end
    assert.same({ "kept" }, drain(ch))
  end)

  it("ends a loop, after what is left", function()
    local ch, log, add = thread.Channel(), helper.log()
    local task = start(function()
      for v in ch:iter() do add(v) end
      add "end"
    end)
    ch:send(false)
    ch:send(2)
    ch:close()
    task:await()
    assert.same({ false, 2, "end" }, log)
  end)

  it("is what <close> does", function()
    local kept
    do
      local ch <close> = thread.Channel()
      kept = ch
    end
    assert.is_true(kept:is_closed())
  end)

  it("leaves a value that comes back for who still waits", function()
    local ch = thread.Channel()
    local first, second = start(ch.recv, ch), start(ch.recv, ch)
    ch:send "value"
    ch:close()
    first:cancel()
    neap.wait { first, second }
    local got = second:result()
    assert.equal("value", got or ch:recv())
    assert.equal(0, #ch)
  end)
end)

describe("a cancelled task", function()
  it("that receives takes nothing #ordered", function()
    local ch, log, add = thread.Channel(), helper.log()
    local tasks = {}
    for i = 1, 4 do tasks[i] = receiver(ch, add, i .. ":") end
    tasks[1]:cancel()
    tasks[3]:cancel()
    settle()
    for _, v in ipairs { "a", "b", "c" } do ch:send(v) end
    settle()
    assert.same({ "2:a", "4:b" }, log)
    assert.same({ "c" }, drain(ch))
  end)

  it("gives back what it was handed, to the front and in order", function()
    local ch = thread.Channel(4)
    local tasks = {}
    for i = 1, 3 do tasks[i] = start(ch.recv, ch) end
    for i = 1, 5 do ch:send(i) end
    for _, i in ipairs { 1, 3, 2 } do tasks[i]:cancel() end
    settle()
    assert.equal(5, #ch)
    assert.is_false(ch:try_send(6))
    assert.same({ 1, 2, 3, 4, 5 }, drain(ch))
  end)

  it("gives back what it was handed to the next in line", function()
    local ch = thread.Channel(0)
    local first, second = start(ch.recv, ch), start(ch.recv, ch)
    assert.is_true(ch:try_send "x")
    first:cancel()
    assert.equal("x", second:await())
    assert.is_true(first:cancelled())
    first = start(ch.recv, ch)
    assert.is_true(ch:try_send "y")
    first:cancel()
    settle()
    assert.equal(1, #ch) -- nobody was there
    assert.equal("y", ch:recv())
  end)

  it("that sends leaves nothing behind", function()
    local ch = thread.Channel(1)
    ch:send(0)
    local tasks = {}
    for i = 1, 3 do tasks[i] = start(ch.send, ch, i) end
    tasks[2]:cancel()
    settle()
    assert.same({ 0, 1, 3 }, drain(ch))
    neap.gather(tasks[1], tasks[3])
  end)

  it("takes its value out again when nobody has received it", function()
    for _, capacity in ipairs { 1, 3 } do
      local ch = thread.Channel(capacity)
      for i = 1, capacity do ch:send(i) end
      local task, next_one = start(ch.send, ch, "x"), start(ch.send, ch, "y")
      assert.equal(1, ch:recv()) -- now x is in
      task:cancel()
      settle()
      assert.is_true(task:cancelled())
      assert.is_true(next_one:done())
      local left = drain(ch)
      assert.equal("y", left[#left])
      assert.equal(capacity, #left)
    end
  end)

  it("has sent what somebody received", function()
    local ch = thread.Channel(0)
    local task = start(ch.send, ch, "x")
    assert.equal("x", ch:recv())
    task:cancel()
    settle()
    assert.is_true(task:cancelled())
    assert.equal(0, #ch)
  end)

  it("may be cancelled at every moment", function()
    for _, capacity in ipairs { 0, 1, 2 } do
      test.cancel_sweep(function()
        local ch = thread.Channel(capacity)
        local seen, sent = {}, 0
        local g <close> = neap.TaskGroup()
        g:create_task(function()
          for i = 1, 4 do
            ch:send(i)
            sent = i
          end
          ch:close()
        end)
        for v in ch:iter() do
          assert(v == #seen + 1)
          seen[v] = true
        end
        assert(#seen == 4 and sent == 4)
      end)
    end
  end)

  it("swallowed or not, does not wait again", function()
    local ch, again = thread.Channel(), nil
    ch:send(1)
    local task = start(function()
      pcall(neap.sleep, 1e6)
      again = catch(ch.recv, ch)
      error(again, 0)
    end)
    task:cancel()
    catch(task.await, task)
    assert.is_true(helper.is_cancelled(again))
    assert.equal(1, #ch)
  end)
end)

describe("time-outs", function()
  helper.virtual_time(before_each, after_each)

  it("end a wait, and lose nothing", function()
    helper.both(function(run)
      local ch = thread.Channel(1)
      local err, time = helper.failure(run, helper.within, 2, function() ch:recv() end)
      assert.is_true(neap.TimeoutError:is(err))
      assert.equal(2, time)
      ch:send "a"
      err = helper.failure(run, helper.within, 2, function() ch:send "b" end)
      assert.is_true(neap.TimeoutError:is(err))
      assert.same({ "a" }, drain(ch))
    end)
  end)
end)

describe("reports", function()
  it("tell what is waited for", function()
    local ch = thread.Channel(3)
    local task = start(ch.recv, ch)
    local text = neap.get_event_loop():dump()
    assert.matches("Channel:recv.* for <Channel 0/3>", text)
    task:cancel()
    settle()
  end)

  it("find that nobody else can reach a channel", function()
    local ch = thread.Channel(0)
    local err = catch(ch.recv, ch)
    assert.is_true(neap.DeadlockError:is(err))
    assert.matches("waits in 'Channel:recv' .*for <Channel 0/0>", tostring(err))
    err = catch(ch.send, ch, 1)
    assert.is_true(neap.DeadlockError:is(err))
    assert.equal("<Channel 0/0>", tostring(ch))
  end)
end)

describe("a channel that is collected", function()
  it("goes with what is in it, also when they are in each other", function()
    for _ = 1, 3 do
      local first = thread.Channel()
      local last = first
      for _ = 1, helper.many(20000) do
        local ch = thread.Channel()
        ch:send { last, ("x"):rep(50) }
        last = ch
      end
    end
    collectgarbage()
    collectgarbage()
  end)

  it("stays as long as somebody waits", function()
    local task
    do
      local ch = thread.Channel()
      task = start(ch.recv, ch)
    end
    collectgarbage()
    task:cancel()
    settle()
    assert.is_true(task:cancelled())
  end)

  it("is of no use after its finalizer was called by hand", function()
    local ch = thread.Channel()
    local task = start(ch.recv, ch)
    ch:__gc()
    assert.matches("Channel expected", catch(ch.send, ch, 1))
    assert.matches("Channel expected", catch(ch.close, ch))
    task:cancel()
    settle()
  end)
end)
