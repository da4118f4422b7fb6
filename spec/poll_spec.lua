--- Readiness of descriptors: loop:add_reader and its kin, neap.wait_readable.

local neap = require "neap"
local core = require "neap.core.test"
local helper = require "spec.helper"
local net = require "neap.net"
local test = require "neap.test"

local loop, open

before_each(function()
  loop, open = neap.get_event_loop(), {}
end)

after_each(function()
  for fd in pairs(open) do core.fd_close(fd) end
end)

local function keep(a, b)
  open[a], open[b] = true, true
  return a, b
end

local function close(fd)
  open[fd] = nil
  assert(core.fd_close(fd))
end

local function pipe(blocking) return keep(core.pipe(blocking)) end

local function socketpair() return keep(core.socketpair()) end

--- Fills it until it takes no more.
local function fill(fd)
  local chunk = ("x"):rep(65536)
  while core.fd_write(fd, chunk) do end
end

local function drain(fd)
  while core.fd_read(fd, 65536) do end
end

describe("neap.wait_readable", function()
  it("waits until there is something to read", function()
    local r, w = pipe()
    local task = helper.start(neap.wait_readable, r)
    assert.is_false(task:done())
    core.fd_write(w, "hello")
    assert.is_true(task:await())
    assert.equal("hello", core.fd_read(r))
  end)

  it("works in the main chunk as well", function()
    local r, w = pipe()
    neap.create_task(core.fd_write, w, "x")
    assert.is_true(neap.wait_readable(r))
  end)

  it("sees the end of the stream", function()
    local r, w = pipe()
    local task = helper.start(neap.wait_readable, r)
    close(w)
    assert.is_true(task:await())
    assert.equal("", core.fd_read(r))
  end)

  it("takes files of the io library", function()
    local file <close> = assert(io.popen "echo hello")
    assert.is_true(neap.wait_readable(file))
    assert.equal("hello", file:read "l")
    assert.is_true(file:close())
    assert.matches("bad argument #1 to 'neap.wait_readable' %(closed file%)",
      helper.catch(neap.wait_readable, file))
  end)

  it("takes objects that have a descriptor", function()
    local r, w = pipe()
    core.fd_write(w, "x")
    local methods = { __index = { getfd = function(self) return self.number end } }
    assert.is_true(neap.wait_readable(setmetatable({ number = r }, methods)))
    assert.is_true(neap.wait_readable { fileno = function() return r end })
    assert.is_true(neap.wait_readable { fd = r })
  end)

  it("wakes all who wait for one descriptor", function()
    local r, w = pipe()
    local tasks = {}
    for i = 1, 5 do tasks[i] = helper.start(neap.wait_readable, r) end
    core.fd_write(w, "x")
    for i = 1, 5 do assert.is_true(tasks[i]:await()) end
  end)

  it("waits for both directions of a socket at the same time", function()
    local a, b = socketpair()
    fill(a)
    local reader = helper.start(neap.wait_readable, a)
    local writer = helper.start(neap.wait_writable, a)
    core.fd_write(b, "x")
    assert.is_true(reader:await())
    assert.is_false(writer:done())
    drain(b)
    assert.is_true(writer:await())
  end)

  it("gives an error for what cannot be watched", function()
    local file = assert(core.fd_open(arg[0]))
    local ok, err = neap.wait_readable(file)
    core.fd_close(file)
    assert.is_nil(ok)
    assert.is_true(neap.OSError:is(err))
    assert.equal("EPERM", err.code)
    ok, err = neap.wait_writable(file)
    assert.is_nil(ok)
    assert.equal("EBADF", err.code)
    assert.equal("wait_writable", err.op)
  end)

  it("refuses what is neap's own, which in turn refuses to read what is watched", function()
    local a, b = net.pair()
    local listener <close> = assert(net.listen())
    for _, own in ipairs { a, listener } do
      local ok, err = neap.wait_readable(own)
      assert.is_nil(ok)
      assert.equal("EEXIST", err.code)
      assert.equal("wait_readable", err.op)
      err = helper.catch(neap.get_event_loop().add_writer, neap.get_event_loop(), own, print)
      assert.equal("EEXIST", err.code)
    end
    -- By its number nobody knows whose it is.
    local c, d = net.pair()
    local watcher = neap.create_task(neap.wait_readable, c:fileno())
    neap.sleep(0)
    local reader = neap.create_task(c.read, c) -- whose first wait that is
    local line, err = reader:await()
    assert.is_nil(line)
    assert.equal("EEXIST", err.code)
    assert.equal("EEXIST", select(2, c:read_some()).code)
    assert.matches("EEXIST", tostring(helper.catch(c:lines())))
    assert.is_false(watcher:done())
    watcher:cancel()
    for _, stream in ipairs { a, b, c, d } do stream:close() end
    neap.sleep(0)
  end)

  it("says which argument is wrong", function()
    assert.matches("bad argument #1 to 'neap.wait_readable' %(descriptor expected, got table%)",
      helper.catch(neap.wait_readable, {}))
    assert.matches("#1 to 'neap.wait_writable' %(descriptor expected, got string%)",
      helper.catch(neap.wait_writable, "3"))
    assert.matches("%(%-1 is no descriptor%)", helper.catch(neap.wait_readable, -1))
    assert.matches("descriptor expected", helper.catch(neap.wait_readable, 1.5))
    assert.matches("descriptor expected", helper.catch(neap.wait_readable, { fd = "x" }))
    assert.matches("value expected", helper.catch(neap.wait_readable))
  end)

  it("can be cancelled, and the others still wait", function()
    local r, w = pipe()
    local first = helper.start(neap.wait_readable, r)
    local second = helper.start(neap.wait_readable, r)
    first:cancel()
    assert.is_true(helper.is_cancelled(helper.catch(first.await, first)))
    core.fd_write(w, "x")
    assert.is_true(second:await())
  end)

  it("can be timed out", function()
    local r = pipe()
    local err = helper.catch(neap.wait_for, neap.wait_readable, 0.01, r)
    assert.is_true(neap.TimeoutError:is(err))
  end)

  it("leaves nothing behind wherever it is cancelled", function()
    test.cancel_sweep(function()
      local r, w = core.pipe()
      local _ <close> = helper.closing(function()
        core.fd_close(r)
        core.fd_close(w)
      end)
      neap.wait_writable(w)
      core.fd_write(w, "x")
      neap.wait_readable(r)
      neap.wait_writable(w)
    end)
  end)

  it("tells what it waits for", function()
    local r = pipe()
    local task = helper.start(neap.wait_readable, r)
    assert.matches("waiting in 'neap.wait_readable' for <descriptor " .. r .. ">",
      tostring(loop:dump()))
    task:cancel()
    pcall(task.await, task)
  end)

  it("leaves the mode of the descriptor alone", function()
    local r, w = pipe(true)
    local task = helper.start(neap.wait_readable, r)
    assert.is_true(core.fd_blocking(r))
    core.fd_write(w, "x")
    task:await()
    assert.is_true(core.fd_blocking(r))
  end)

  it("tells those who wait for a descriptor that is closed at once", function()
    local r = pipe()
    local task = neap.create_task(neap.wait_readable, r)
    neap.create_task(close, r) -- before the system is told of it
    local ok, err = task:await()
    assert.is_nil(ok)
    assert.equal("EBADF", err.code)
  end)

  it("watches another descriptor of the same number", function()
    for _ = 1, 3 do
      local r, w = pipe()
      local task = helper.start(neap.wait_readable, r)
      core.fd_write(w, "x")
      assert.is_true(task:await())
      close(r)
      close(w)
    end
  end)

  it("ends with its loop", function()
    local before = helper.descriptors()
    local seen
    neap.run(function()
      local r, w = core.pipe()
      neap.create_task(function()
        local _ <close> = helper.closing(function(_, err)
          seen = err
          core.fd_close(r)
          core.fd_close(w)
        end)
        neap.wait_readable(r)
      end)
      neap.sleep(0)
    end)
    assert.is_true(helper.is_cancelled(seen))
    helper.await_descriptors(before)
  end)

  it("does a thousand at a time", function()
    local n = math.min(helper.many(1000), 300)
    local writers, tasks = {}, {}
    for i = 1, n do
      local r, w = pipe()
      writers[i], tasks[i] = w, neap.create_task(function()
        neap.wait_readable(r)
        return core.fd_read(r)
      end)
    end
    for i = n, 1, -1 do core.fd_write(writers[i], tostring(i)) end
    for i = 1, n do assert.equal(tostring(i), tasks[i]:await()) end
  end)
end)

describe("loop:add_reader", function()
  local log, add
  before_each(function() log, add = helper.log() end)

  local function wait_for(n)
    while #log < n do neap.sleep(0.001) end
  end

  it("calls the function with its arguments while there is something to read", function()
    local r, w = pipe()
    assert.is_nil(loop:add_reader(r, function(...)
      add { n = select("#", ...), ... }
      if #log == 3 then loop:remove_reader(r) end
    end, "a", nil))
    helper.settle()
    assert.same({}, log)
    core.fd_write(w, "x")
    wait_for(3)
    helper.settle()
    assert.same({ n = 2, "a", nil }, log[3])
    assert.equal(3, #log)
  end)

  it("calls a writer while there is room", function()
    local a = socketpair()
    loop:add_writer(a, function()
      add "room"
      loop:remove_writer(a)
    end)
    wait_for(1)
  end)

  it("replaces the reader that there is", function()
    local r, w = pipe()
    loop:add_reader(r, add, "first")
    loop:add_reader(r, function()
      add "second"
      loop:remove_reader(r)
    end)
    core.fd_write(w, "x")
    wait_for(1)
    assert.same({ "second" }, log)
  end)

  it("says whether there was one", function()
    local r, w = pipe()
    assert.is_false(loop:remove_reader(r))
    loop:add_reader(r, add)
    assert.is_false(loop:remove_writer(r))
    assert.is_true(loop:remove_reader(r))
    assert.is_false(loop:remove_reader(r))
    core.fd_write(w, "x")
    assert.is_false(loop:remove_writer(w))
  end)

  it("does not call what was removed while it was queued", function()
    local r, w = pipe()
    local s, x = pipe()
    local function once(name)
      return function()
        add(name)
        loop:remove_reader(r)
        loop:remove_reader(s)
      end
    end
    loop:add_reader(r, once "one")
    loop:add_reader(s, once "the other")
    core.fd_write(w, "x")
    core.fd_write(x, "x")
    wait_for(1)
    helper.settle()
    assert.equal(1, #log)
  end)

  it("lets others run beside a handler that does not read", function()
    local r, w = pipe()
    local calls = 0
    core.fd_write(w, "x")
    loop:add_reader(r, function() calls = calls + 1 end)
    local task = neap.create_task(function()
      local s, x = pipe()
      for _ = 1, 20 do neap.sleep(0.0001) end
      core.fd_write(x, "x")
      neap.wait_readable(s)
      return "done"
    end)
    assert.equal("done", task:await())
    loop:remove_reader(r)
    assert.is_true(calls > 0)
  end)

  it("reports a handler's error and goes on", function()
    local r, w = pipe()
    local n = 0
    loop:add_reader(r, function()
      n = n + 1
      add(n)
      if n == 2 then loop:remove_reader(r) end
      error("broken " .. n, 0)
    end)
    core.fd_write(w, "x")
    wait_for(2)
    helper.settle()
    local reports = helper.reports.take()
    assert.equal(2, #reports)
    assert.equal("broken 1", reports[1].exception)
  end)

  it("serves callbacks and tasks for one descriptor", function()
    local r, w = pipe()
    local task = helper.start(neap.wait_readable, r)
    loop:add_reader(r, function()
      add "called"
      loop:remove_reader(r)
    end)
    core.fd_write(w, "x")
    assert.is_true(task:await())
    wait_for(1)
    task = helper.start(neap.wait_readable, r)
    assert.is_true(task:await())
  end)

  it("raises for what cannot be watched", function()
    local file = assert(core.fd_open(arg[0]))
    local err = helper.catch(loop.add_reader, loop, file, add)
    core.fd_close(file)
    assert.is_true(neap.OSError:is(err))
    assert.equal("EPERM", err.code)
    assert.equal("EBADF", helper.catch(loop.add_writer, loop, file, add).code)
  end)

  it("says which argument is wrong", function()
    local r = pipe()
    assert.matches("function expected, got nil", helper.catch(loop.add_reader, loop, r, nil))
    assert.matches("descriptor expected", helper.catch(loop.add_reader, loop, "x", add))
    assert.matches("descriptor expected", helper.catch(loop.remove_writer, loop, {}))
    local closed = neap.new_event_loop()
    closed:close()
    assert.matches("closed", helper.catch(closed.add_reader, closed, r, add))
  end)

  it("outlives a descriptor that is closed behind its back", function()
    local r = pipe()
    loop:add_reader(r, function()
      add "called"
      loop:remove_reader(r)
    end)
    close(r)
    wait_for(1)
    local s, x = pipe() -- the same number
    loop:add_reader(s, function()
      add(core.fd_read(s))
      loop:remove_reader(s)
    end)
    core.fd_write(x, "new")
    wait_for(2)
    assert.same({ "called", "new" }, log)
  end)

  it("watches what got the number of a closed one meanwhile", function()
    local r, w = pipe()
    loop:add_reader(r, add, "old")
    helper.settle()
    close(r)
    local s, x = pipe()
    local t = s
    if s ~= r then -- what was free may have been another
      t = core.fd_dup(s, r)
      open[t] = true
    end
    loop:add_reader(t, function()
      add "new"
      loop:remove_reader(t)
    end)
    core.fd_write(x, "x")
    wait_for(1)
    assert.same({ "new" }, log)
    assert.is_number(w)
  end)

  it("goes on calling where the other side is gone", function()
    local a, b = socketpair()
    close(b)
    loop:add_writer(a, function()
      local ok, err = core.fd_write(a, "x")
      add(ok or err.code)
      if #log == 2 then loop:remove_writer(a) end
    end)
    wait_for(2)
    assert.same({ "EPIPE", "EPIPE" }, log)
    local r, w = pipe()
    close(r) -- an error of the pipe, not room in it
    loop:add_writer(w, add, "called")
    wait_for(4)
    loop:remove_writer(w)
    assert.is_true(neap.wait_writable(w))
  end)

  it("keeps the loop alive, also after the main chunk", function()
    local result = helper.run [[
      local neap = require "neap"
      local core = require "neap.core.test"
      local r, w = core.pipe()
      local loop = neap.get_event_loop()
      loop:add_reader(r, function()
        print(core.fd_read(r))
        loop:remove_reader(r)
      end)
      loop:call_later(0.01, core.fd_write, w, "late")
      print "end of the chunk"
    ]]
    assert.same({ out = "end of the chunk\nlate\n", err = "", code = 0 }, result)
  end)

  it("goes with a loop that is closed", function()
    local r, w = pipe()
    local before = helper.descriptors()
    local other = neap.new_event_loop()
    other:add_reader(r, add, "never")
    other:add_writer(w, add, "never")
    local weak = setmetatable({}, { __mode = "k" })
    do
      local fn = function() end
      weak[fn] = true
      other:add_reader(r, fn)
    end
    other:close()
    collectgarbage()
    collectgarbage()
    assert.is_nil(next(weak))
    helper.await_descriptors(before)
  end)

  it("is told by a test that leaves it behind", function()
    local leftover = require "neap.test.leftover"
    local r = pipe()
    local snapshot = leftover.snapshot()
    loop:add_reader(r, add)
    assert.matches("a handle of libuv: poll", table.concat(leftover.since(snapshot), "\n"))
    leftover.clean(snapshot)
    helper.settle()
    assert.same({}, leftover.since(snapshot))
  end)
end)
