--- What threads share with the process and the system: signals, children, files, sockets,
--- TLS, the clock.

local neap = require "neap"
local thread = require "neap.thread"
local signal = require "neap.signal"
local process = require "neap.process"
local test = require "neap.test"
local helper = require "spec.helper"
local certs = require "spec.support.certs"

--- Sends a signal to this process, from outside.
local function kill(name)
  assert(process.run { "sh", "-c", "kill -" .. name .. " $PPID", check = true })
end

--- The results of fn(i, ...) in so many threads at once.
local function in_threads(n, fn, ...)
  local threads, results = {}, {}
  for i = 1, n do threads[i] = assert(thread.start(fn, i, ...)) end
  for i = 1, n do results[i] = threads[i]:join() end
  return results
end

describe("signals", function()
  it("are heard by each thread that listens", function()
    local ready, heard, go = thread.Channel(), thread.Channel(), thread.Channel()
    local threads = {}
    for i = 1, 3 do
      threads[i] = thread.start(function()
        local listener <close> = require "neap.signal".listen "SIGUSR2"
        ready:send(i)
        heard:send((listener:wait()))
        go:recv()
      end)
    end
    local listener <close> = signal.listen "SIGUSR2"
    for _ = 1, 3 do ready:recv() end
    kill "USR2"
    assert.equal("SIGUSR2", (listener:wait()))
    for _ = 1, 3 do assert.equal("SIGUSR2", heard:recv()) end
    go:close()
    for i = 1, 3 do threads[i]:join() end
    kill "USR2" -- the one that is left
    assert.equal("SIGUSR2", (listener:wait()))
  end)

  it("SIGURG is a program's own, though stuck threads are ended by it #stuck", function()
    local function stuck()
      local ready = thread.Channel()
      local t = thread.start(function() ready:send(1); while true do end end)
      ready:recv()
      return t
    end
    local t = stuck()
    do
      local listener <close> = signal.listen "SIGURG"
      assert.is_false(t:stop(0.01))
      kill "URG"
      assert.equal("SIGURG", (neap.wait_for(listener.wait, 50, listener)))
      t = stuck()
      assert.is_false(t:stop(0.01))
    end
    t = stuck() -- with a listener that came and went
    assert.is_false(t:stop(0.01))
  end)

  it("SIGURG that the program gets from others ends no thread", function()
    local ready, go = thread.Channel(), thread.Channel()
    local t = thread.start(function()
      ready:send(1)
      while go:try_recv() == nil do end
      return "went on"
    end)
    ready:recv()
    for _ = 1, 3 do kill "URG" end
    go:send(1)
    assert.equal("went on", t:join())
  end)

  it("Ctrl-C gets through while a thread waits in os.execute #host", function()
    local result = helper.run([[
      local neap, thread = require "neap", require "neap.thread"
      local begun = thread.Channel()
      thread.start(function() begun:send(1); os.execute "exec sleep 0.5" end)
      begun:recv()
      neap.sleep(0.1)
      require "neap.process".run { "sh", "-c", "kill -INT $PPID" }
      while true do end]])
    assert.equal(130, result.code)
  end)
end)

describe("os.execute in a thread", function()
  it("is as Lua's", function()
    local t = thread.start(function()
      return { os.execute "exit 3" }, { os.execute "true" }, { os.execute "kill -TERM $$" },
        os.execute()
    end)
    local three, zero, term, shell = t:join()
    assert.same({ nil, "exit", 3 }, three)
    assert.same({ true, "exit", 0 }, zero)
    assert.same({ nil, "signal", 15 }, term)
    assert.is_true(shell)
  end)
end)

-- A fork of several threads under a preloaded sanitizer may find its locks taken.
local preloaded = (os.getenv "LD_PRELOAD" or ""):find "asan"

it("children of several threads are reaped, each by its own", function()
  if preloaded then return end
  local codes = in_threads(4, function(i)
    local p = require "neap.process"
    for k = 1, 5 do
      local result = assert(p.run { "sh", "-c", "exit " .. i * 10 + k })
      assert(result.code == i * 10 + k)
    end
    return p.run { "cat", input = ("x"):rep(100000) }.stdout:len()
  end)
  assert.same({ 100000, 100000, 100000, 100000 }, codes)
  local pipe <close> = assert(io.popen "ps -o stat= --ppid $PPID | grep -c Z")
  assert.equal("0", pipe:read "l")
end)

it("several threads use files, sockets and names at once", function()
  local paths = {}
  for i = 1, 4 do paths[i] = os.tmpname() end
  local sums = in_threads(4, function(i)
    local core, fs, net = require "neap", require "neap.fs", require "neap.net"
    local path = paths[i]
    local total = 0
    for k = 1, 5 do
      assert(fs.write_file(path, ("%d"):format(i * k)))
      total = total + tonumber(assert(fs.read_file(path)))
      assert(#assert(net.resolve "localhost") > 0)
    end
    os.remove(path)
    local server <close> = assert(net.serve(function(stream)
      for line in stream:lines "L" do stream:write(line) end
    end))
    local host, port = server:address()
    local group <close> = core.TaskGroup()
    for _ = 1, 3 do
      group:create_task(function()
        local stream <close> = assert(net.connect(host, port))
        stream:write "12\n"
        local n = tonumber(stream:read())
        total = total + n
      end)
    end
    group:close()
    return total
  end)
  for i = 1, 4 do assert.equal(15 * i + 36, sums[i]) end
end)

describe("TLS", function()
  lazy_setup(certs.folder)

  it("is used in several threads at once", function()
    local words = in_threads(3, function(i, identity, trust)
      local core, net = require "neap", require "neap.net"
      local server <close> = assert(net.serve(function(stream)
        for line in stream:lines "L" do stream:write(line) end
      end, { tls = identity }))
      local port = select(2, server:address())
      local got = {}
      for k = 1, 3 do
        local stream <close> = assert(net.connect("localhost", port,
          { tls = trust, addresses = { "127.0.0.1" } }))
        stream:write(i, " ", k, "\n")
        got[k] = core.wait_for(stream.read, 50, stream)
      end
      return table.concat(got, ",")
    end, certs.identity "server", certs.trust())
    for i = 1, 3 do assert.equal(("%d 1,%d 2,%d 3"):format(i, i, i), words[i]) end
  end)
end)

describe("a clock that stands still does not jump", function()
  local clock
  before_each(function() clock = test.clock() end)
  after_each(function() clock:close() end)

  local function busy(seconds)
    local last = os.clock() + seconds
    while os.clock() < last do end
    return "done"
  end

  it("while a job is awaited", function()
    local loop <close> = thread.start_loop()
    local future = neap.run_coroutine_threadsafe(busy, loop, 0.02)
    local late = false
    neap.get_event_loop():call_later(1000, function() late = true end)
    assert.equal("done", future:await())
    assert.is_false(late)
    neap.sleep(2000)
    assert.is_true(late)
  end)

  it("while a thread, a pool or a channel is awaited", function()
    local late = false
    local timer = neap.get_event_loop():call_later(1000, function() late = true end)
    assert.equal("done", thread.start(busy, 0.01):join())
    assert.equal("done", neap.to_thread(busy, 0.01))
    local channel = thread.Channel()
    local t = thread.start(function() busy(0.01); channel:send "sent" end)
    assert.equal("sent", channel:recv())
    t:join()
    assert.is_false(late)
    timer:cancel()
  end)

  it("in other threads: they have clocks of their own", function()
    local t = thread.start(function() neap.sleep(0.001); return neap.get_event_loop():time() end)
    assert.is_true(t:join() < 1e9)
  end)
end)
