--- thread.cluster: one function in several threads, and how they end together.

local neap = require "neap"
local net = require "neap.net"
local signal = require "neap.signal"
local thread = require "neap.thread"
local helper = require "spec.helper"
local unused = require("spec.support.port").unused
local catch = helper.catch

-- A cluster of functions that say "ready <i>" and then call `rest`; it is there when all
-- have said so.
local function started(n, rest)
  local said = thread.Channel()
  local task = neap.create_task(thread.cluster, n, function(i)
    said:send("ready " .. i)
    return rest(i)
  end)
  local seen = {}
  for _ = 1, type(n) == "table" and n.threads or n do seen[said:recv()] = true end
  return task, seen
end

local function stay() neap.Future():await() end

describe("thread.cluster", function()
  it("calls the function in each thread, with its number, and gives the results", function()
    local how, results = thread.cluster(3, function(i, a, b) return i * a + b, "more" end, 10, 1)
    assert.equal("done", how)
    assert.same({ 11, 21, 31, n = 3 }, results)
  end)

  it("runs them at the same time, in threads of their own", function()
    local meet = thread.Channel(0)
    local how = thread.cluster(2, function(i)
      mine = (mine or 0) + 1 -- luacheck: ignore
      if i == 1 then meet:send "hello" else assert(meet:recv() == "hello") end
      assert(mine == 1) -- luacheck: ignore
    end)
    assert.equal("done", how)
  end)

  it("has as many threads as there are processors, if nothing is said", function()
    local processors = require "neap.thread.processors"
    local _, results = thread.cluster(nil, function(i) return i end)
    assert.equal(processors(), results.n)
    _, results = thread.cluster({}, function(i) return i end)
    assert.equal(processors(), results.n)
    _, results = thread.cluster({ threads = 2 }, function(i) return i end)
    assert.same({ 1, 2, n = 2 }, results)
  end)

  it("works in a task as well, and leaves the loop free", function()
    local go = thread.Channel()
    local task = neap.create_task(thread.cluster, 2, function() return go:recv() end)
    neap.sleep(0.001)
    assert.is_false(task:done())
    go:send "a"
    go:send "a"
    local how, results = task:await()
    assert.equal("done", how)
    assert.same({ "a", "a", n = 2 }, results)
  end)

  it("checks its arguments", function()
    assert.matches("bad argument #1 to 'neap.thread.cluster'.*got 0",
      catch(thread.cluster, 0, print))
    assert.matches("bad argument #1.*got 1.5", catch(thread.cluster, 1.5, print))
    assert.matches("bad argument #1.*got string", catch(thread.cluster, "2", print))
    assert.matches("bad argument #2.*function expected", catch(thread.cluster, 2))
    assert.matches("bad argument #2 to 'neap.thread.cluster' %(function expected, got table",
      catch(thread.cluster, 2, setmetatable({}, { __call = print })))
    assert.matches("unknown option 'n'", catch(thread.cluster, { n = 2 }, print))
    assert.matches("bad option 'grace'", catch(thread.cluster, { grace = -1 }, print))
    assert.matches("bad option 'threads'", catch(thread.cluster, { threads = 0 }, print))
  end)

  it("names the argument that cannot cross", function()
    local co = coroutine.create(print)
    assert.matches("argument 3%.list%[1%]: a coroutine",
      catch(thread.cluster, 2, function() end, { list = { co } }))
    assert.matches("argument 2 %(upvalue 'co'%)",
      catch(thread.cluster, 2, function() return co end))
  end)
end)

describe("when a function of a cluster fails", function()
  it("the others are stopped in order, and its error is raised", function()
    local said, go = thread.Channel(), thread.Channel()
    local task = started(3, function(i)
      if i == 2 then
        go:recv()
        error "number two"
      end
      local _guard <close> = setmetatable({}, { __close = function()
        neap.sleep(0.001)
        said:try_send("closed " .. i)
      end })
      neap.Future():await()
    end)
    go:send(true)
    local err = catch(task.await, task)
    assert.matches("number two$", err)
    local seen = {}
    for _ = 1, 2 do seen[said:recv()] = true end
    assert.same({ ["closed 1"] = true, ["closed 3"] = true }, seen)
  end)

  it("its traceback is told", function()
    local function deep() error { code = 7 } end
    local task = neap.create_task(function()
      thread.cluster(2, function(i) if i == 1 then deep() end neap.Future():await() end)
    end)
    neap.wait { task }
    assert.same({ code = 7 }, task:exception())
    assert.matches("in upvalue 'deep'", task:traceback())
    assert.matches("in thread 'thread%-%d+'", task:traceback())
    assert.matches("in function 'neap%.thread%.cluster", task:traceback())
  end)

  it("the same error of others is not told again", function()
    local gate = thread.Channel()
    for _ = 1, 3 do gate:send(true) end
    local err = catch(thread.cluster, 3, function()
      neap.shield(function() gate:recv() end)
      error("all the same", 0)
    end)
    assert.equal("all the same", err)
  end)

  it("another error is reported", function()
    local ready = thread.Channel()
    local err = catch(thread.cluster, 2, function(i)
      if i == 1 then
        ready:recv()
        error("the first", 0)
      end
      local _guard <close> = setmetatable({}, { __close = function() error("the second", 0) end })
      ready:send(true)
      neap.Future():await()
    end)
    assert.equal("the first", err)
    collectgarbage()
    collectgarbage()
    helper.settle()
    local list = helper.reports.take()
    assert.equal(1, #list)
    assert.equal("the second", list[1].exception)
  end)
end)

describe("a signal", function()
  for _, name in ipairs { "SIGTERM", "SIGINT" } do
    it("ends a cluster in order: " .. name, function()
      local said = thread.Channel()
      local task, seen = started(2, function(i)
        local _guard <close> = setmetatable({}, { __close = function()
          neap.sleep(0.001) -- closing may wait
          said:try_send("closed " .. i)
        end })
        neap.Future():await()
      end)
      assert.same({ ["ready 1"] = true, ["ready 2"] = true }, seen)
      signal.raise(name)
      local how, results = task:await()
      assert.equal(name, how)
      assert.same({ n = 2 }, results)
      seen = { [said:recv()] = true, [said:recv()] = true }
      assert.same({ ["closed 1"] = true, ["closed 2"] = true }, seen)
    end)
  end

  it("gives the results of those that have returned", function()
    local over = thread.Channel()
    local task = started(2, function(i)
      if i == 1 then
        local _over <close> = setmetatable({}, { __close = function() over:close() end })
        return "early"
      end
      neap.Future():await()
    end)
    over:recv()
    signal.raise "SIGTERM"
    local _, results = task:await()
    -- The first may have been cancelled between its close and its end, but not the second.
    assert.is_true(results[1] == "early" or results[1] == nil)
    assert.is_nil(results[2])
  end)

  it("that comes twice interrupts what does not wait #stuck", function()
    local task = started(2, function() while true do end end)
    signal.raise "SIGTERM"
    neap.sleep(0.01)
    assert.is_false(task:done())
    signal.raise "SIGINT"
    assert.equal("SIGTERM", (task:await()))
  end)

  it("is needed no second time once the grace is over #stuck", function()
    local task = started({ threads = 2, grace = 0.01 }, function() while true do end end)
    signal.raise "SIGTERM"
    assert.equal("SIGTERM", (task:await()))
  end)

  it("means what it did before, afterwards #host", function()
    local result = helper.run [[
      local neap = require "neap"
      local thread = require "neap.thread"
      local signal = require "neap.signal"
      neap.get_event_loop():call_later(0.01, signal.raise, "SIGINT")
      print(thread.cluster(2, function() neap.Future():await() end) == "SIGINT")
      print(pcall(function()
        signal.raise "SIGINT"
        neap.sleep(10)
      end))
      print "on"
    ]]
    assert.equal("true\nfalse\tKeyboardInterrupt\non\n", result.out)
    assert.same({ "", 0 }, { result.err, result.code })
  end)

  it("the third ends the program when a thread cannot be ended #host", function()
    local result = helper.run([[
      local neap = require "neap"
      local thread = require "neap.thread"
      local signal = require "neap.signal"
      local said = thread.Channel()
      local task = neap.create_task(function()
        said:recv()
        for _ = 1, 3 do signal.raise "SIGTERM"; neap.sleep(0.05) end
      end)
      thread.cluster(1, function()
        said:send "ready"
        os.execute "sleep 8" -- cannot be interrupted
      end)
      print "never"
    ]])
    assert.equal("", result.out)
    assert.equal(143, result.code)
  end)
end)

it("os.exit in one thread ends the program, and all threads in order #host", function()
  local result = helper.run [[
    local neap = require "neap"
    local thread = require "neap.thread"
    local ready = thread.Channel()
    io.stdout:setvbuf "line"
    thread.cluster(2, function(i)
      local _guard <close> = setmetatable({}, { __close = function()
        neap.sleep(0.02)
        io.stdout:write "closed\n"
      end })
      if i == 1 then
        ready:recv()
        os.exit(5)
      end
      ready:send(true)
      neap.Future():await()
    end)
    print "never"
  ]]
  assert.same({ "closed\nclosed\n", "", 5 }, { result.out, result.err, result.code })
end)

describe("the caller of a cluster", function()
  it("ends the threads when it is cancelled", function()
    local said = thread.Channel()
    local task = started(2, function(i)
      local _guard <close> = setmetatable({}, { __close = function()
        neap.sleep(0.001)
        said:try_send("closed " .. i)
      end })
      neap.Future():await()
    end)
    task:cancel "enough"
    local err = catch(task.await, task)
    assert.is_true(neap.CancelledError:is(err))
    assert.equal("enough", err.message)
    local seen = { [said:recv()] = true, [said:recv()] = true }
    assert.same({ ["closed 1"] = true, ["closed 2"] = true }, seen)
  end)

  it("ends them when its time is over", function()
    local err = catch(neap.wait_for, thread.cluster, 0.01, 2, stay)
    assert.is_true(neap.TimeoutError:is(err))
  end)

  it("leaves them behind when it is cancelled again, to end with the loop #stuck", function()
    local loop = neap.new_event_loop()
    loop:run_until_complete(function()
      local task = started(2, function() while true do end end)
      task:cancel()
      neap.sleep(0.001)
      task:cancel()
      assert.is_true(neap.CancelledError:is(catch(task.await, task)))
    end)
    loop:close()
  end)
end)

describe("a server in several threads", function()
  -- n threads that serve on one port, which they have of the first of them.
  local function serve(n, handler)
    local ports, said = thread.Channel(), thread.Channel()
    local first = unused()
    local task = neap.create_task(thread.cluster, n, function(i)
      local port = i == 1 and first or ports:recv()
      local server <close> = assert(net.serve(function(stream)
        return handler(i, stream)
      end, { reuse_port = true, port = port, grace = 60 }))
      local _guard <close> = setmetatable({}, { __close = function()
        said:try_send { i = i, closing = true }
      end })
      port = select(2, server:address())
      if i == 1 then
        for _ = 2, n do ports:send(port) end
      end
      said:send { i = i, port = port }
      server:wait_closed()
    end)
    local seen, port = {}, nil
    for _ = 1, n do
      local one = said:recv()
      seen[one.i] = true
      assert(port == nil or port == one.port)
      port = one.port
    end
    assert.equal(n, #seen)
    return task, port, said
  end

  it("answers on one port, and the system spreads the connections", function()
    local task, port = serve(2, function(i, stream)
      for line in stream:lines() do stream:write(i, " ", line, "\n") end
    end)
    local who = {}
    for k = 1, 60 do
      local stream <close> = assert(net.connect("127.0.0.1", port))
      stream:write(k, "\n")
      local i, line = stream:read():match "^(%d) (%d+)$"
      assert.equal(tostring(k), line)
      who[i] = true
    end
    assert.same({ ["1"] = true, ["2"] = true }, who) -- or once in 2 to the power of 59
    signal.raise "SIGTERM"
    assert.equal("SIGTERM", (task:await()))
    local stream, err = net.connect("127.0.0.1", port)
    assert.is_nil(stream)
    assert.equal("ECONNREFUSED", err.code)
  end)

  it("still answers what was asked before the signal", function()
    local begun, go = thread.Channel(), thread.Channel()
    local task, port, said = serve(2, function(_, stream)
      local line = stream:read()
      begun:send(line)
      go:recv()
      stream:write("late answer to ", line, "\n")
    end)
    local stream <close> = assert(net.connect("127.0.0.1", port))
    stream:write "a question\n"
    assert.equal("a question", begun:recv())
    signal.raise "SIGTERM"
    for _ = 1, 2 do assert.is_true(said:recv().closing) end
    go:send(true)
    assert.equal("late answer to a question", stream:read())
    assert.equal("SIGTERM", (task:await()))
  end)

  it("drops it at a second signal", function()
    local begun = thread.Channel()
    local task, port = serve(2, function(_, stream)
      begun:send(stream:read())
      neap.Future():await()
    end)
    local stream <close> = assert(net.connect("127.0.0.1", port))
    stream:write "a question\n"
    begun:recv()
    signal.raise "SIGTERM"
    neap.sleep(0.01)
    assert.is_false(task:done())
    signal.raise "SIGTERM"
    assert.is_nil((stream:read()))
    assert.equal("SIGTERM", (task:await()))
  end)
end)
