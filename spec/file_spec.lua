--- Files of neap.fs: reading, writing, positions. Several tasks, cancellation and closing:
--- file_task_spec.

local neap = require "neap"
local fs = require "neap.fs"
local helper = require "spec.helper"
local folder = require "spec.support.folder"

local catch, in_task, many = helper.catch, helper.in_task, helper.many

describe("a file", function()
  local at = folder(before_each, after_each)

  local function write(name, data)
    assert(fs.write_file(at(name), data))
    return at(name)
  end

  it("is read by Lua's formats", function()
    for _, run in ipairs { helper.direct, in_task } do
      run(function()
        local path = write("file", "one\ntwo\n12 0x10 3e1\nrest\nof it")
        local file <close> = assert(fs.open(path))
        assert.equal("<File " .. path .. ">", tostring(file))
        assert.equal("one", file:read())
        assert.equal("two\n", file:read "L")
        assert.same({ 12, 16, 30.0 }, { file:read("n", "n", "n") })
        assert.same({ "", "re", "" }, { file:read("l", 2, 0) })
        assert.equal("st\nof it", file:read "a")
        assert.equal("", file:read "a")
        assert.is_nil(file:read "l")
        assert.is_nil(file:read(0))
        assert.is_nil(file:read(5))
      end)
    end
  end)

  it("is read by counts and separators", function()
    local file <close> = fs.open(write("file", "abc;;de;;xyz"))
    assert.equal("abc;;", file:read_until ";;")
    assert.equal("d", file:read_exactly(1))
    assert.equal("e", file:read_some(1))
    local value, err = file:read_until(";;xyz?")
    assert.is_nil(value)
    assert.is_true(neap.IncompleteReadError:is(err))
    assert.equal(";;xyz", err.partial)
    file:seek("set", 7)
    value, err = file:read_until("yz", 2)
    assert.is_nil(value)
    assert.is_true(neap.LimitOverrunError:is(err))
    assert.equal(3, err.consumed)
    assert.equal(";;", file:read_exactly(2))
    value, err = file:read_exactly(4)
    assert.is_nil(value)
    assert.is_true(neap.IncompleteReadError:is(err))
    assert.equal("xyz", err.partial)
    assert.equal(4, err.expected)
    assert.is_nil(file:read_some())
    assert.is_nil(file:read_exactly(1))
    assert.is_nil(file:read_until "x")
  end)

  it("sees what was added after its end", function()
    local path = write("file", "one\n")
    local file <close> = fs.open(path)
    assert.equal("one", file:read())
    assert.is_nil(file:read())
    local more <close> = fs.open(path, "a")
    more:write "two\n"
    more:flush()
    assert.equal("two", file:read())
    assert.is_nil(file:read())
  end)

  it("gives its lines", function()
    local path = write("file", "1 one\n2 two\n\nlast")
    local got = {}
    for line in fs.lines(path) do got[#got + 1] = line end
    assert.same({ "1 one", "2 two", "", "last" }, got)
    got = {}
    for n, line in fs.lines(path, "n", "L") do got[#got + 1] = n .. line end
    assert.same({ "1 one\n", "2 two\n" }, got)
    local file <close> = fs.open(path)
    got = {}
    for piece in file:lines(5) do got[#got + 1] = piece end
    assert.same({ "1 one", "\n2 tw", "o\n\nla", "st" }, got)
    assert.equal("ENOENT", catch(function() fs.lines(at "none") end).code)
    assert.equal("EISDIR", catch(function() for _ in fs.lines(at()) do end end).code)
    assert.matches("invalid format", catch(fs.lines, path, "z"))
  end)

  it("closes what fs.lines opened, also after a break", function()
    local path = write("file", "one\ntwo\n")
    local before = helper.descriptors()
    for line in fs.lines(path) do
      if line == "one" then break end
    end
    for _ in fs.lines(path) do end
    pcall(function() for _ in fs.lines(path) do error "x" end end)
    assert.equal(before, helper.descriptors())
  end)

  it("is made, emptied, added to, or must not be there", function()
    local path = at "file"
    assert.equal("ENOENT", select(2, fs.open(path, "r+")).code)
    for _, mode in ipairs { "w", "wb", "w+", "w+b", "wb+" } do
      local file <close> = assert(fs.open(path, mode))
      assert.equal(file, file:write("data ", 1, " ", 0.5))
    end
    assert.equal("data 1 0.5", fs.read_file(path))
    assert.equal("EEXIST", select(2, fs.open(path, "x")).code)
    assert(fs.open(at "new", "x", 256)):close()
    assert.equal(256, fs.stat(at "new").mode)
    do
      local file <close> = assert(fs.open(path, "a+"))
      assert.equal("data", file:read(4))
      file:write "!"
      assert.equal(11, file:seek())
      file:seek "set"
      file:write "?"
      assert.equal(12, file:seek "cur")
    end
    assert.equal("data 1 0.5!?", fs.read_file(path))
    for _, mode in ipairs { "", "z", "rw", "r++", "rbb", "+r", "r ", 1 } do
      assert.matches("#2 to 'neap.fs.open' %('r', 'w', 'a' or 'x'", catch(fs.open, path, mode))
    end
    assert.matches("#3 to 'neap.fs.open'", catch(fs.open, path, "w", -1))
    assert.matches("#1 to 'neap.fs.open'", catch(fs.open))
  end)

  it("refuses what it was not opened for", function()
    local path = write("file", "text")
    local reading <close> = fs.open(path)
    local value, err = reading:write "x"
    assert.is_nil(value)
    assert.equal("EBADF", err.code)
    assert.equal(path, err.path)
    assert.equal("write", err.op)
    local writing <close> = fs.open(path, "w")
    value, err = writing:read()
    assert.is_nil(value)
    assert.equal("EBADF", err.code)
    assert.equal("EISDIR", select(2, fs.open(at(), "w")).code)
    local dir <close> = assert(fs.open(at()))
    value, err = dir:read()
    assert.is_nil(value)
    assert.equal("EISDIR", err.code)
    assert.equal(at(), err.path)
  end)

  it("gives back what could not be written", function()
    local file = assert(fs.open("/dev/full", "w"))
    assert.equal(file, file:write "x")
    local value, err = file:flush()
    assert.is_nil(value)
    assert.equal("ENOSPC", err.code)
    value, err = file:write(("x"):rep(100000))
    assert.is_nil(value)
    assert.equal("ENOSPC", err.code)
    value, err = file:close()
    assert.is_nil(value)
    assert.equal("ENOSPC", err.code)
    assert.matches("closed", tostring(file))
    assert.is_true(file:close())
  end)

  it("has one position for reading and writing", function()
    local path = write("file", "0123456789")
    local file <close> = assert(fs.open(path, "r+"))
    assert.equal("012", file:read(3))
    file:write "abc"
    assert.equal("67", file:read(2))
    assert.equal(8, file:seek())
    assert.equal(9, file:seek("end", -1))
    assert.equal("9", file:read "a")
    assert.equal(0, file:seek "set")
    assert.equal("012abc6789", file:read "a")
    local value, err = file:seek("set", -1)
    assert.is_nil(value)
    assert.equal("EINVAL", err.code)
    assert.equal(10, file:seek())
    assert.equal(12, file:seek("cur", 2))
    file:write "z"
    assert.equal(13, file:stat().size)
    assert.matches("invalid option 'middle'", catch(file.seek, file, "middle"))
    assert.matches("number expected", catch(file.seek, file, "set", "x"))
    assert.equal("EINVAL", select(2, file:seek("cur", math.maxinteger)).code)
  end)

  it("is cut off, and made longer", function()
    local path = write("file", "0123456789")
    local file <close> = assert(fs.open(path, "r+"))
    assert.equal("0", file:read(1))
    assert.equal(file, file:truncate(5))
    assert.equal("1234", file:read "a")
    file:seek("set", 2)
    file:truncate()
    assert.equal(2, file:stat().size)
    file:truncate(4)
    assert.equal("\0\0", file:read "a")
    assert.matches("0 or more", catch(file.truncate, file, -1))
    assert.equal(file, file:sync())
  end)

  it("writes at once what is large, and keeps what is small", function()
    local path = at "file"
    local file <close> = assert(fs.open(path, "w"))
    file:write "small"
    assert.equal(0, fs.stat(path).size)
    assert.equal(5, file:seek())
    file:flush()
    assert.equal(5, fs.stat(path).size)
    local big = ("x"):rep(3000000)
    file:write("<", big, ">")
    assert.is_true(fs.stat(path).size >= 3000000 - 65536)
    for _ = 1, 70 do file:write(("y"):rep(1000)) end
    assert.is_true(fs.stat(path).size > 3000000)
    file:close()
    assert.equal(3070007, fs.stat(path).size)
    assert.equal("<" .. big .. ">", fs.read_file(path):sub(6, 3000007))
  end)

  it("does the same as one of Lua's own, whatever is done in whatever order", function()
    local sizes = { 1, 3, 10, 1000, 70000 }
    local formats = { "l", "L", "n", "a", 1, 5, 5000, 0 }
    for seed = 1, math.min(many(60), 60) do
      local state = seed * 7919
      local function random(n)
        state = (state * 1103515245 + 12345) & 0x7fffffff
        return (state >> 8) % n + 1
      end
      local mode = ({ "r+", "w+", "a+" })[random(3)]
      local start = {}
      for i = 1, random(3000) do
        start[i] = tostring(random(1000)) .. (random(5) == 1 and "\n" or " ")
      end
      local a_path, b_path = write("a", table.concat(start)), write("b", table.concat(start))
      local a <close> = assert(fs.open(a_path, mode))
      local b <close> = assert(io.open(b_path, mode))
      local trace = {}
      for _ = 1, 25 do
        local what = random(3)
        local x, y
        if what == 1 then
          local format = formats[random(#formats)]
          trace[#trace + 1] = "read " .. format
          b:seek "cur" -- the C library wants it between writing and reading
          x, y = a:read(format), b:read(format)
        elseif what == 2 then
          local data = ("%d\n"):format(random(100000)):rep(sizes[random(#sizes)] // 5 + 1)
          trace[#trace + 1] = "write " .. #data
          b:seek "cur"
          a:write(data)
          b:write(data)
          if mode == "a+" then b:flush() a:flush() end -- or it does not know where it is
          x, y = a:seek(), b:seek()
        else
          local whence = ({ "set", "cur", "end" })[random(3)]
          local offset = random(2000) - (whence == "set" and 1 or 1000)
          trace[#trace + 1] = "seek " .. whence .. " " .. offset
          x, y = a:seek(whence, offset), b:seek(whence, offset)
        end
        if x ~= y then
          error(("seed %d, %s: %q, not %q (%s)"):format(seed, mode, tostring(x):sub(1, 50),
            tostring(y):sub(1, 50), table.concat(trace, ", ")))
        end
      end
      a:close()
      b:close()
      assert.is_true(fs.read_file(a_path) == fs.read_file(b_path), "seed " .. seed)
    end
  end)

  it("need not have positions", function()
    assert(os.execute("mkfifo " .. at "fifo"))
    local file <close> = assert(fs.open(at "fifo", "r+"))
    file:write "one\ntwo\n"
    assert.equal("one", file:read())
    assert.equal("ESPIPE", select(2, file:seek()).code)
    assert.equal("ESPIPE", select(2, file:seek "end").code)
    file:write "three\n"
    assert.equal("two", file:read())
    assert.equal("three", file:read())
    local zero <close> = fs.open "/dev/zero"
    assert.equal("\0\0\0", zero:read(3))
    local null <close> = fs.open("/dev/null", "w")
    assert.equal(null, null:write("x"):flush())
  end)

  it("is read by lines in little memory", function()
    local result = helper.run([[
      local fs = require "neap.fs"
      local size = 50000000
      local block = {}
      for i = 1, 1000 do block[i] = ("line %d "):format(i) .. ("x"):rep(i % 80) .. "\n" end
      block = table.concat(block)
      do
        local file <close> = fs.open("big", "w")
        for _ = 1, size // #block do file:write(block) end
      end
      local n, bytes = 0, 0
      for line in fs.lines("big") do n, bytes = n + 1, bytes + #line + 1 end
      print(n == size // #block * 1000, bytes == fs.stat("big").size)
      local peak = tonumber(fs.read_file("/proc/self/status"):match "VmHWM:%s*(%d+)")
      print(peak)
    ]])
    local right, peak = result.out:match "^(true\ttrue)\n(%d+)\n$"
    assert.is_string(right, result.out .. result.err)
    -- A sanitizer keeps what was freed.
    assert.is_true(tonumber(peak) < 30000 or helper.host:find "asan" ~= nil, peak)
  end)

  it("tells of itself", function()
    local file = fs.open(write("file", ""))
    assert.equal("file", file:stat().type)
    file:close()
    assert.equal("<File " .. at "file" .. " closed>", tostring(file))
    for name, args in pairs { read = {}, write = { "x" }, lines = {}, seek = {}, flush = {},
      sync = {}, stat = {}, truncate = {}, read_some = {}, read_exactly = { 1 },
      read_until = { "x" } } do
      assert.matches("attempt to use a closed file", catch(file[name], file, table.unpack(args)))
      assert.matches("File expected, got string", catch(file[name], "x", table.unpack(args)))
    end
    assert.matches("File expected", catch(file.close, io.stdout))
  end)

  it("says what is wrong with an argument", function()
    local file <close> = fs.open(write("file", "x"))
    assert.matches("invalid format", catch(file.read, file, "z"))
    assert.matches("too many formats", catch(file.read, file, 1, 1, 1, 1, 1, 1, 1, 1, 1))
    assert.matches("1 or more", catch(file.read_some, file, 0))
    assert.matches("0 or more", catch(file.read_exactly, file, -1))
    assert.matches("number expected", catch(file.read_exactly, file))
    assert.matches("empty", catch(file.read_until, file, ""))
    assert.matches("limit of 1", catch(file.read_until, file, "x", 0))
    assert.matches("string expected, got table", catch(file.write, file, "x", {}))
    assert.matches("string expected, got nil", catch(file.write, file, nil))
    assert.equal("x", file:read "a")
  end)
end)
