--- Files of neap.fs and tasks: turns, cancellation, closing, the end of a loop. A FIFO
--- stands for a file whose reads take long.

local neap = require "neap"
local fs = require "neap.fs"
local test = require "neap.test"
local helper = require "spec.helper"
local folder = require "spec.support.folder"

local catch, start, many = helper.catch, helper.start, helper.many

describe("a file and its tasks", function()
  local at = folder(before_each, after_each)

  --- A file whose reads wait until `feed(text)` was called.
  local function slow()
    assert(os.execute("mkfifo " .. at "fifo"))
    local file = assert(fs.open(at "fifo", "r+"))
    return file, function(text)
      local other <close> = assert(io.open(at "fifo", "r+"))
      other:write(text)
    end
  end

  it("can be given up while nobody writes into a FIFO, and nothing is lost", function()
    local file <close>, feed = slow()
    for _, read in ipairs { file.read, file.read_some } do
      assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, read, 0.03, file)))
    end
    feed "one\n"
    assert.equal("one", file:read())
  end)

  it("opens a FIFO, and waits for the other side until it is given up", function()
    assert(os.execute("mkfifo " .. at "fifo"))
    local function given_up(fn, ...)
      assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, fn, 0.03, ...)))
    end
    given_up(fs.open, at "fifo", "w")
    given_up(fs.read_file, at "fifo")
    given_up(fs.write_file, at "fifo", "x")
    given_up(fs.copy, at "fifo", at "copy")
    assert.is_false(fs.exists(at "copy"))
    do
      local reader <close> = assert(fs.open(at "fifo"))
      given_up(reader.read, reader)
      local line = start(reader.read, reader)
      assert(fs.write_file(at "fifo", "one\ntwo"))
      assert.equal("one", line:await())
      assert.equal("two", reader:read())
      assert.is_nil(reader:read())
    end
    local data = start(fs.read_file, at "fifo")
    local text = ("0123456789abcdef"):rep(20000)
    do
      local writer <close> = assert(fs.open(at "fifo", "a"))
      writer:write(text)
    end
    assert.is_true(data:await() == text)
  end)

  it("gives up to write into a FIFO that nobody reads, and nothing is lost", function()
    assert(os.execute("mkfifo " .. at "fifo"))
    local reader <close> = assert(fs.open(at "fifo"))
    local writer <close> = assert(fs.open(at "fifo", "w"))
    local text = ("0123456789abcdef"):rep(20000) -- more than fits
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, function()
      writer:write(text):flush()
    end, 0.05)))
    local rest = start(reader.read, reader, "a")
    writer:close() -- writes what it has taken
    local got = rest:await()
    assert.is_true(text:sub(1, #got) == got)
  end)

  it("keeps what each writes together, and the order of each", function()
    local n = many(200)
    do
      local file <close> = assert(fs.open(at "file", "w"))
      local g <close> = neap.TaskGroup()
      for i = 1, 10 do
        g:create_task(function()
          for k = 1, n do
            file:write(i, " ", k, " ", ("x"):rep(1000), "\n")
            if k % 7 == 0 then neap.sleep(0) end
          end
        end)
      end
    end
    local last, lines = {}, 0
    for i, k, rest in fs.lines(at "file", "n", "n", "l") do
      assert.equal((last[i] or 0) + 1, k)
      assert.equal(1001, #rest)
      last[i], lines = k, lines + 1
    end
    assert.equal(10 * n, lines)
  end)

  it("gives each line to one of several readers", function()
    do
      local file <close> = fs.open(at "file", "w")
      for i = 1, 5000 do file:write(i, "\n") end
    end
    local seen, n = {}, 0
    do
      local file <close> = fs.open(at "file")
      local g <close> = neap.TaskGroup()
      for _ = 1, 5 do
        g:create_task(function()
          for i in file:lines "n" do
            assert.is_nil(seen[i])
            seen[i], n = true, n + 1
          end
        end)
      end
    end
    assert.equal(5000, n)
  end)

  it("serves tasks in the order in which they came", function()
    local file, feed = slow()
    local list, add = helper.log()
    local tasks = {}
    for i = 1, 4 do
      tasks[i] = start(function() add(i .. file:read()) end)
    end
    tasks[2]:cancel()
    feed "one\ntwo\nthree\n"
    neap.wait(tasks)
    assert.same({ "1one", "3two", "4three" }, list)
    file:close()
  end)

  it("loses nothing when a reader is cancelled or times out", function()
    local file, feed = slow()
    local task = start(file.read, file, 8)
    task:cancel()
    feed "1234"
    assert.is_true(helper.is_cancelled(catch(task.await, task)))
    assert.is_true(neap.TimeoutError:is(catch(neap.wait_for, file.read, 0.01, file, 8)))
    neap.get_event_loop():call_later(0.01, feed, "5678")
    assert.equal("12345678", file:read(8))
    file:close()
  end)

  it("can be closed while others wait for it", function()
    local file, feed = slow()
    local reader = start(file.read, file)
    local second = start(file.read, file)
    local closer = start(file.close, file)
    local third = start(file.read, file)
    assert.is_false(closer:done())
    feed "one\n"
    assert.equal("one", reader:await())
    neap.sleep(0)
    feed "two\n"
    assert.equal("two", second:await())
    assert.is_true(closer:await())
    assert.matches("attempt to use a closed file", catch(third.await, third))
  end)

  it("is closed by a close that is cancelled, too", function()
    local before = helper.descriptors()
    local file, feed = slow()
    local reader = start(file.read, file)
    local closer = start(file.close, file)
    closer:cancel()
    assert.is_true(helper.is_cancelled(catch(closer.await, closer)))
    assert.matches("attempt to use a closed file", catch(file.read, file))
    feed "one\n"
    assert.equal("one", reader:await())
    assert.equal(before, helper.descriptors())
  end)

  it("is closed where nobody can wait, with what was written", function()
    local before = helper.descriptors()
    local file = fs.open(at "file", "w")
    neap.get_event_loop():call_soon(function()
      file:write "text"
      file:close()
    end)
    neap.sleep(0)
    assert.equal("text", fs.read_file(at "file"))
    assert.equal(before, helper.descriptors())
    file = fs.open(at "file", "w")
    local co = coroutine.create(function()
      local _ <close> = file
      file:write "more"
      coroutine.yield()
    end)
    coroutine.resume(co)
    coroutine.close(co)
    assert.equal("more", fs.read_file(at "file"))
    assert.equal(before, helper.descriptors())
  end)

  it("says so where it would have to wait and cannot", function()
    local file <close> = fs.open(at "file", "w+")
    local err
    neap.get_event_loop():call_soon(function() err = catch(file.read, file) end)
    neap.sleep(0)
    assert.matches("cannot wait in 'File:read' inside a loop callback", err)
    file:write "x"
    assert.matches("cannot wait in 'File:sync'", catch(table.sort, { 1, 2 }, function()
      return neap.create_task(function()
        table.sort({ 1, 2 }, function() return file:sync() end)
      end):await()
    end))
  end)

  it("writes what is left when it is collected", function()
    local before = helper.descriptors()
    do
      local file = fs.open(at "file", "w")
      file:write "left"
    end
    collectgarbage()
    collectgarbage()
    assert.equal(before, helper.descriptors())
    assert.equal("left", fs.read_file(at "file"))
  end)

  it("is not hurt by a cancelled write", function()
    local data = ("0123456789"):rep(50000)
    local file <close> = assert(fs.open(at "file", "w"))
    local task = start(file.write, file, data)
    task:cancel()
    pcall(task.await, task)
    local n = file:seek()
    file:write "end"
    file:flush()
    assert.is_true(n <= #data)
    assert.equal(data:sub(1, n) .. "end", fs.read_file(at "file"))
  end)

  it("may be used in one loop after the other", function()
    local file = neap.run(fs.open, at "file", "w+")
    neap.run(function() file:write "one\n" end)
    neap.run(function() file:seek "set" assert.equal("one", file:read()) end)
    file:close()
  end)

  it("leaves nothing behind when it is cancelled at any wait", function()
    local before = helper.descriptors()
    local data = ("x"):rep(200000)
    local waits = test.cancel_sweep(function()
      local file <close> = assert(fs.open(at "file", "w+"))
      file:write("one\n", data)
      file:write "two\n"
      file:flush()
      file:seek("end", -4)
      assert.equal("two", file:read())
      file:seek "set"
      for _ in file:lines() do end
      file:truncate(10)
      file:sync()
      assert.equal(10, file:stat().size)
      file:write "three"
      assert.is_true(file:close())
      fs.remove(at "new")
      assert(fs.open(at "new", "x")):close()
      assert(fs.remove(at "new"))
    end, { outcome = "any" })
    assert.is_true(waits >= 12, waits)
    helper.await_descriptors(before)
  end)

  it("does not leave a file that only a cancelled open has made", function()
    local task = neap.create_task(fs.open, at "file", "x")
    neap.sleep(0)
    task:cancel()
    assert.is_true(helper.is_cancelled(catch(task.await, task)))
    assert.is_false(fs.exists(at "file"))
  end)

  it("ends with its loop, whatever is under way", function()
    local result = helper.run([[
      local neap = require "neap"
      local fs = require "neap.fs"
      local file
      neap.run(function()
        file = fs.open("file", "w")
        for i = 1, 20 do
          neap.create_task(function()
            local own <close> = fs.open("f" .. i, "w+")
            while true do
              own:write(("x"):rep(100000))
              own:seek "set"
              own:read "a"
              file:write(("y"):rep(70000))
            end
          end)
        end
        for _ = 1, 50 do neap.sleep(0) end
      end)
      print(file:close(), fs.stat("file").size % 70000 >= 0)
      neap.create_task(function() fs.read_file("f1") fs.write_file("f2", "x") end)
      neap.sleep(0)
      os.exit(0, true)
    ]])
    assert.equal("true\ttrue\n", result.out, result.err)
    assert.equal(0, result.code, result.err)
  end)

  it("keeps what was written, also where os.exit ends the program #host", function()
    local result = helper.run [[
      local fs, neap = require "neap.fs", require "neap"
      local name = assert(fs.mkdtemp()) .. "/file"
      print(name)
      local file = fs.open(name, "w")
      file:write "one "
      neap.create_task(function()
        local other = fs.open(name, "a")
        other:write "two"
        os.exit(3)
      end)
      neap.sleep(10)
    ]]
    assert.equal(3, result.code, result.err)
    local name = result.out:match "[^\n]+"
    local _remove <close> = helper.closing(function()
      fs.remove(name:match "(.*)/", { recursive = true })
    end)
    assert.matches("^one ", fs.read_file(name))
  end)

  it("is named where a deadlock or a dump is told", function()
    local file, feed = slow()
    local reader = start(file.read, file)
    local other = start(file.read, file)
    local text = tostring(neap.get_event_loop():dump())
    feed "1\n2\n"
    reader:await()
    other:await()
    file:close()
    assert.matches("<File " .. at "fifo" .. "> held by Task-", text, 1, true)
  end)
end)
