--- Writing to streams.

local neap = require "neap"
local net = require "neap.net"
local test = require "neap.test"
local helper = require "spec.helper"

local catch, start, in_task = helper.catch, helper.start, helper.in_task

local pair = require "spec.support.kept"(before_each, after_each).pair

local MUCH = ("x"):rep(1 << 20)

describe("writing to a stream", function()

  it("gives the stream back, and takes numbers", function()
    local a, b = pair()
    assert.equal(a, a:write("n ", 1, " ", 2.5, "\n"))
    assert.equal("n 1 2.5", b:read())
    assert.equal(a, a:write())
    assert.equal(a, in_task(a.write, a, "x\n"))
    assert.equal("x", b:read())
  end)

  it("lets small pieces of one turn leave together", function()
    local a, b = pair()
    in_task(function()
      for i = 1, 10 do a:write(i, ",") end
      assert.equal(21, a:pending())
      neap.sleep(0)
      assert.equal(0, a:pending())
    end)
    assert.equal("1,2,3,4,5,6,7,8,9,10,", b:read_some())
  end)

  it("sends what was written before it waits for an answer", function()
    local a, b = pair()
    local server = start(function() b:write(b:read() .. "!\n") end)
    in_task(function()
      a:write "ping\n"
      assert.equal("ping!", a:read())
    end)
    server:await()
  end)

  it("waits when the peer does not keep up", function()
    local a, b = pair()
    local written = 0
    local writer = neap.create_task(function()
      for _ = 1, 200 do
        a:write(("x"):rep(10000))
        written = written + 1
      end
    end)
    for _ = 1, 20 do neap.sleep(0.001) end
    assert.is_false(writer:done())
    local held = a:pending()
    assert.is_true(held > 64 * 1024 and held < 128 * 1024, held)
    assert.equal(2000000, #b:read_exactly(2000000))
    writer:await()
    assert.equal(200, written)
  end)

  it("waits according to its water marks", function()
    local a, b = pair()
    a:set_write_limits(0)
    local writer = start(a.write, a, MUCH)
    assert.is_false(writer:done())
    b:read_exactly(#MUCH)
    writer:await()
    assert.equal(0, a:pending())
    assert.matches("bad argument #1 to 'set_write_limits'",
      catch(function() a:set_write_limits(-1) end))
    assert.matches("bad argument #2 to 'set_write_limits'",
      catch(function() a:set_write_limits(5, 6) end))
  end)

  it("does not mix what several tasks write", function()
    local a, b = pair()
    local tasks = {}
    for i = 1, 8 do
      local piece = ("%d"):format(i):rep(150000)
      tasks[i] = neap.create_task(function()
        for _ = 1, 3 do a:write(piece:sub(1, 70000), piece:sub(70001), "\n") end
      end)
    end
    local count = {}
    for _ = 1, 24 do
      local line = b:read()
      local digit = line:sub(1, 1)
      assert.is_true(line == digit:rep(150000))
      count[digit] = (count[digit] or 0) + 1
    end
    for i = 1, 8 do
      tasks[i]:await()
      assert.equal(3, count[tostring(i)])
    end
  end)

  it("sends the rest of a write whose task was cancelled", function()
    local a, b = pair()
    local function cancelled()
      local writer = start(a.write, a, MUCH .. "end")
      writer:cancel()
      assert.is_true(helper.is_cancelled(catch(writer.await, writer)))
    end
    cancelled()
    collectgarbage()
    collectgarbage()
    assert.is_true(b:read_exactly(#MUCH + 3) == MUCH .. "end")
  end)

  it("can be waited for with a time-out", function()
    local a = pair()
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, a.write, 0.01, a, MUCH)))
  end)

  it("flushes", function()
    local a, b = pair()
    local done = false
    local task = start(function()
      a:write(MUCH:sub(1, 300000))
      assert.equal(a, a:flush())
      done = true
    end)
    neap.sleep(0.001)
    assert.is_false(done)
    b:read_exactly(300000)
    task:await()
    assert.is_true(done)
    assert.equal(a, a:flush())
  end)

  it("says that nothing more will come", function()
    local a, b = pair()
    a:write "all"
    assert.equal(a, a:shutdown())
    assert.equal("all", b:read "a")
    b:write "answer"
    assert.equal(b, b:shutdown())
    assert.equal("answer", a:read "a")
    assert.matches("attempt to write after shutdown", catch(a.write, a, "x"))
    assert.equal(a, a:shutdown())
  end)

  it("sends all before the end, however much it is", function()
    local a, b = pair()
    local writer = start(function()
      a:write(MUCH)
      a:shutdown()
    end)
    assert.equal(#MUCH, #b:read "a")
    writer:await()
  end)

  it("says so when the peer is gone", function()
    local a, b = pair()
    b:close()
    neap.sleep(0)
    local value, err = a:write "x"
    assert.is_nil(value)
    assert.is_true(neap.OSError:is(err))
    assert.equal("EPIPE", err.code)
    value, err = a:flush()
    assert.is_nil(value)
    assert.equal("EPIPE", err.code)
  end)

  it("wakes a writer whose peer goes", function()
    local a, b = pair()
    local writer = start(a.write, a, MUCH)
    b:abort()
    local value, err = writer:await()
    assert.is_nil(value)
    assert.equal("EPIPE", err.code)
  end)

  it("wakes a writer when the stream is closed", function()
    local a = pair()
    local writer, flusher = start(a.write, a, MUCH), start(a.flush, a)
    a:abort()
    for _, task in ipairs { writer, flusher } do
      local value, err = task:await()
      assert.is_nil(value)
      assert.equal("EBADF", err.code)
    end
  end)

  it("delivers what was written before close", function()
    local a, b = pair()
    in_task(function()
      a:set_write_limits(1 << 30)
      a:write(MUCH, "end")
      a:close()
      assert.is_true(a:is_closed())
    end)
    assert.equal(#MUCH + 3, #b:read "a")
  end)

  it("lets others run beside a task that only writes", function()
    local a, b = pair()
    local turns, stop = 0, false
    local other = neap.create_task(function()
      while not stop do
        turns = turns + 1
        neap.sleep(0)
      end
    end)
    local sink = neap.create_task(function()
      while b:read_some() do end
    end)
    in_task(function()
      for _ = 1, 3000 do a:write(("y"):rep(1000)) end
    end)
    a:close()
    sink:await()
    stop = true
    other:await()
    assert.is_true(turns > 3)
  end)

  it("refuses what is no string", function()
    local a = pair()
    assert.matches("bad argument #2 to 'write'", catch(function() a:write("x", {}) end))
    assert.equal(0, a:pending())
  end)

  it("cannot be done where nobody can wait", function()
    local a = pair()
    local err
    neap.get_event_loop():call_soon(function() err = catch(a.write, a, "x") end)
    neap.sleep(0)
    assert.matches("cannot wait in 'Stream:write' inside a loop callback", err)
  end)

  it("survives a cancellation at each of its waits", function()
    local waits = test.cancel_sweep(function()
      local a, b = net.pair()
      local _a <close> = a
      local _b <close> = b
      local group <close> = neap.TaskGroup()
      group:create_task(function()
        while b:read_some() do end
      end)
      a:write(MUCH)
      a:flush()
      a:write "x"
      a:shutdown()
    end)
    assert.is_true(waits >= 1)
  end)
end)
