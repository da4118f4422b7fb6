--- Reading from streams. Writing: stream_write_spec; copying: pipe_spec.

local neap = require "neap"
local net = require "neap.net"
local test = require "neap.test"
local helper = require "spec.helper"

local catch, start, in_task = helper.catch, helper.start, helper.in_task

local kept = require "spec.support.kept"(before_each, after_each)
local keep, pair = kept.keep, kept.pair

--- A stream from which exactly these pieces can be read, the later ones after a turn each.
local function source(...)
  local a, b = pair()
  local pieces = { ... }
  neap.create_task(function()
    for i, piece in ipairs(pieces) do
      if i > 1 then neap.sleep(0.001) end
      a:write(piece):flush()
    end
    a:close()
  end)
  return b
end

describe("a stream", function()

  it("gives what the other side wrote, by Lua's formats", function()
    local s = source("one\ntwo\n", "0x1F 7.5e1\nabc", "rest\nend")
    assert.equal("one", s:read())
    assert.equal("two\n", s:read "L")
    local x, y = s:read("n", "n")
    assert.same({ 31, 75.0 }, { x, y })
    assert.equal("float", math.type(y))
    assert.equal("\nab", s:read(3))
    assert.equal("crest", s:read "*l")
    assert.equal("end", s:read "a")
    assert.equal("", s:read "a")
    assert.is_nil(s:read "l")
    assert.is_nil((s:read(0)))
  end)

  it("says nil for the format that fails and reads no further", function()
    local s = source "12 x\nmore\n"
    assert.same({ n = 2, 12, nil }, table.pack(s:read("n", "n", "l")))
  end)

  it("gives a last line that has no end", function()
    local s = source "a\nb"
    assert.same({ "a", "b" }, { s:read("l", "L") })
    assert.is_nil(s:read())
  end)

  it("does not say whether there is more without waiting", function()
    local s = source("", "x")
    assert.equal("", s:read(0))
    assert.equal("x", s:read(5))
    assert.is_nil((s:read(0)))
  end)

  it("reads some bytes as soon as there are any", function()
    local s = source("abc", "def")
    assert.equal("a", s:read_some(1))
    assert.equal("bc", s:read_some(10))
    assert.equal("def", s:read_some())
    assert.is_nil(s:read_some())
    assert.equal(1, select("#", s:read_some()))
  end)

  it("reads exactly so many", function()
    local s = source("abc", "defgh")
    assert.equal("abcde", s:read_exactly(5))
    assert.equal("", s:read_exactly(0))
    local value, err = s:read_exactly(4)
    assert.is_nil(value)
    assert.is_true(neap.IncompleteReadError:is(err))
    assert.equal("fgh", err.partial)
    assert.equal(4, err.expected)
  end)

  it("reads until a separator, wherever the pieces end", function()
    local text = "first--second-third--"
    for cut = 1, #text - 1 do
      local s = source(text:sub(1, cut), text:sub(cut + 1))
      assert.equal("first--", s:read_until "--")
      assert.equal("second-third--", s:read_until "--")
      assert.equal(1, select("#", s:read_until "--"))
    end
    local value, err = source "no end":read_until "--"
    assert.is_nil(value)
    assert.is_true(neap.IncompleteReadError:is(err))
    assert.equal("no end", err.partial)
  end)

  it("refuses what is longer than the limit, and keeps it", function()
    local s = source(("x"):rep(100) .. "\n", "next\n")
    local value, err = s:read_until("\n", 50)
    assert.is_nil(value)
    assert.is_true(neap.LimitOverrunError:is(err))
    assert.equal(100, #s:read())
    s:set_read_limit(3)
    value, err = s:read()
    assert.is_nil(value)
    assert.is_true(neap.LimitOverrunError:is(err))
    assert.equal("next\n", s:read "a")
  end)

  it("goes through its lines", function()
    local list = {}
    for line in source("a\nb", "b\nc"):lines() do list[#list + 1] = line end
    assert.same({ "a", "bb", "c" }, list)
    list = {}
    for x, y in source("1 2 3", " 4"):lines("n", "n") do list[#list + 1] = x * 10 + y end
    assert.same({ 12, 34 }, list)
  end)

  it("raises in lines what read returns", function()
    local s = source(("x"):rep(100))
    s:set_read_limit(10)
    local err = catch(function()
      for _ in s:lines() do error "a line" end
    end)
    assert.is_true(neap.LimitOverrunError:is(err))
  end)

  it("keeps apart what comes in large amounts on several", function()
    local tasks = {}
    for i = 1, 4 do
      local a, b = pair()
      local lines = {}
      for k = 1, 1 << 16 do lines[k] = i * 1000000 + k end
      local text = table.concat(lines, " ")
      neap.create_task(function()
        a:write(text)
        a:close()
      end)
      tasks[i] = neap.create_task(function()
        local parts = {}
        repeat
          local part = b:read_some(#parts % 3 == 0 and 100 or nil)
          parts[#parts + 1] = part
        until not part
        assert.is_true(table.concat(parts) == text)
      end)
    end
    neap.gather(tasks)
  end)

  it("reads large things whole", function()
    local text = ("0123456789abcdef"):rep(1 << 16)
    assert.is_true(source(text):read "a" == text)
    local s = source(text, "x")
    assert.is_true(s:read_exactly(#text) == text)
    assert.equal("x", s:read "a")
  end)

  it("stops reading when nobody asks", function()
    local a, b = pair()
    local task = neap.create_task(function() a:write(("x"):rep(4 << 20)):flush() end)
    assert.equal("x", b:read(1))
    for _ = 1, 50 do neap.sleep(0) end
    assert.is_false(task:done())
    assert.equal((4 << 20) - 1, #b:read_exactly((4 << 20) - 1))
    task:await()
  end)

  it("has one reader at a time", function()
    local a, b = pair()
    local task = start(b.read, b)
    assert.matches("another task is reading from this stream", catch(b.read, b))
    assert.matches("another task is reading", catch(b.read_some, b))
    assert.matches("another task is reading", catch(b.pipe, b, a))
    a:write "x\n"
    assert.equal("x", task:await())
  end)

  it("loses nothing when a reader is cancelled", function()
    local a, b = pair()
    local task = start(b.read_exactly, b, 10)
    a:write "12345"
    neap.sleep(0.001)
    task:cancel()
    assert.is_true(helper.is_cancelled(catch(task.await, task)))
    a:write "67890"
    assert.equal("1234567890", b:read_exactly(10))
    -- Cancelled when it was woken already.
    task = start(b.read, b)
    a:write("line\n"):flush()
    task:cancel()
    pcall(task.await, task)
    assert.is_true(task:cancelled() or task:result() == "line")
    if task:cancelled() then assert.equal("line", b:read()) end
  end)

  it("can be waited for with a time-out", function()
    local a, b = pair()
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, b.read, 0.01, b)))
    a:write "late\n"
    assert.equal("late", b:read())
  end)

  it("ends a read with an error when it is closed", function()
    local _, b = pair()
    local task = start(b.read, b)
    b:close()
    local value, err = task:await()
    assert.is_nil(value)
    assert.is_true(neap.OSError:is(err))
    assert.equal("EBADF", err.code)
    assert.is_true(b:is_closed())
  end)

  it("refuses to be used when it is closed", function()
    local _, b = pair()
    b:close()
    b:close()
    for _, name in ipairs { "read", "read_some", "read_until", "lines", "write", "flush",
      "shutdown", "fileno", "peer", "set_read_limit" }
    do
      assert.matches("attempt to use a closed stream %(in 'Stream:" .. name, catch(b[name], b, 1))
    end
    assert.equal("<Stream closed>", tostring(b))
    assert.equal(0, b:pending())
  end)

  it("is closed at the end of its block", function()
    local a, b = pair()
    do
      local _s <close> = a
    end
    assert.is_true(a:is_closed())
    assert.is_nil(b:read())
  end)

  it("is closed when nobody has it, and what was written arrives", function()
    local a, b = net.pair()
    keep(b)
    in_task(function() a:write "last words" end)
    a = nil ---@diagnostic disable-line
    collectgarbage()
    collectgarbage()
    assert.equal("last words", b:read "a")
  end)

  it("gives each line once when a finalizer reads, too", function()
    -- In a program of its own: how often the collector runs depends on all that there is.
    local result = helper.run [[
      local neap = require "neap"
      local a, b = require "neap.net".pair()
      local line, total = ("x"):rep(300), 4000
      local writer = neap.create_task(function()
        for _ = 1, total do a:write(line, "\n") end
        a:close()
      end)
      local others, refused, mine = 0, 0, 0
      local function finalizer()
        local ok, value = pcall(b.read, b)
        if ok and value then others = others + 1 end
      end
      while true do
        setmetatable({}, { __gc = finalizer })
        local ok, one, two = pcall(b.read, b, "l", "l")
        if not ok then
          assert(one:find "a finalizer has read from the same stream", one)
          refused = refused + 1
        elseif one == nil then
          break
        else
          assert(one == line and (two == line or two == nil))
          mine = mine + (two and 2 or 1)
        end
      end
      writer:await()
      assert(others > 0 and refused > 0)
      print(mine + others - total)
    ]]
    assert.same({ out = "0\n", err = "", code = 0 }, result)
  end)

  it("names the argument that is wrong", function()
    local a = pair()
    assert.matches("bad argument #1 to 'read'.*invalid format", catch(function() a:read "x" end))
    assert.matches("bad argument #1 to 'read_some'", catch(function() a:read_some(0) end))
    assert.matches("bad argument #1 to 'read_exactly'", catch(function() a:read_exactly(-1) end))
    assert.matches("bad argument #1 to 'read_exactly'", catch(function() a:read_exactly "x" end))
    assert.matches("bad argument #1 to 'read_until'.*empty", catch(function() a:read_until "" end))
    assert.matches("bad argument #2 to 'read_until'", catch(function() a:read_until("x", 0) end))
    assert.matches("Stream", catch(a.read, io.stdin))
    assert.matches("Stream", catch(a.read))
  end)

  it("cannot be waited for in a loop callback", function()
    local a, b = pair()
    local err
    neap.get_event_loop():call_soon(function() err = catch(b.read, b) end)
    neap.sleep(0)
    assert.matches("cannot wait in 'Stream:read' inside a loop callback", err)
    a:write "x\n"
    assert.equal("x", b:read())
  end)

  it("belongs to its loop", function()
    local _, b = pair()
    local err = catch(neap.run, b.read, b)
    assert.matches("belongs to another event loop", err)
  end)

  it("is closed with its loop", function()
    local a, b
    local task
    neap.run(function()
      a, b = net.pair()
      task = neap.create_task(b.read, b)
      neap.sleep(0)
    end)
    assert.is_true(task:cancelled())
    assert.is_true(a:is_closed())
    assert.matches("closed stream", catch(a.read, a))
    a:close()
  end)

  it("does not keep a program alive when nobody waits for it", function()
    local result = helper.run [[
      local net = require "neap.net"
      a, b = net.pair()
      a:write "x\n"
      print(b:read())
    ]]
    assert.same({ out = "x\n", err = "", code = 0 }, result)
  end)

  it("is told in reports", function()
    local _, b = pair()
    local task = start(b.read, b)
    local dump = neap.get_event_loop():dump()
    assert.matches("Stream:read' for <Stream pipe fd=%d+>", dump)
    task:cancel()
    pcall(task.await, task)
  end)

  it("survives a cancellation at each of its waits", function()
    local waits = test.cancel_sweep(function()
      local a, b = net.pair()
      local _a <close> = a
      local _b <close> = b
      local writer <close> = neap.TaskGroup()
      writer:create_task(function()
        a:write("one\n" .. ("x"):rep(300000))
        a:shutdown()
      end)
      assert(b:read() == "one")
      assert(#b:read_exactly(300000) == 300000)
      assert(b:read() == nil)
    end)
    assert.is_true(waits >= 1)
  end)
end)
