--- neap.fs: calls with paths. Open files: file_spec; folders: fstree_spec; watching:
--- fswatch_spec.

local neap = require "neap"
local fs = require "neap.fs"
local test = require "neap.test"
local helper = require "spec.helper"
local folder = require "spec.support.folder"

local catch, in_task, many = helper.catch, helper.in_task, helper.many

describe("neap.fs", function()
  local at = folder(before_each, after_each)

  local function write(name, data)
    assert(fs.write_file(at(name), data))
    return at(name)
  end

  --- That these results are a refusal with this code, about the path.
  local function refused(code, path, ...)
    local n, value, err = select("#", ...), ...
    assert.equal(2, n)
    assert.is_nil(value)
    assert.is_true(neap.OSError:is(err))
    assert.equal(code, err.code)
    assert.equal(path, err.path)
    assert.matches(path, tostring(err), 1, true)
    return err
  end

  it("writes and reads whole files, at top level and in a task", function()
    for _, run in ipairs { helper.direct, in_task } do
      local path = at "file"
      assert.is_true(run(fs.write_file, path, "some\0bytes\n"))
      assert.equal("some\0bytes\n", run(fs.read_file, path))
      assert.is_true(run(fs.write_file, path, 12))
      assert.equal("12", run(fs.read_file, path))
      assert.is_true(run(fs.write_file, path, ""))
      assert.equal("", run(fs.read_file, path))
    end
  end)

  it("reads what has no size", function()
    assert.matches("^Name:", fs.read_file "/proc/self/status")
    assert.equal("", fs.read_file "/dev/null")
  end)

  it("reads and writes large files", function()
    local data = ("0123456789abcdef"):rep(300000)
    local path = write("large", data)
    assert.equal(#data, fs.stat(path).size)
    assert.is_true(fs.read_file(path) == data)
    assert.is_true(fs.copy(path, at "copy"))
    assert.is_true(fs.read_file(at "copy") == data)
  end)

  it("tells why it was refused, and for which path", function()
    local none, file = at "none", write("file", "x")
    for _, name in ipairs { "stat", "lstat", "scandir", "readlink", "realpath", "read_file",
      "access", "open", "remove", "watch" } do
      local err = refused("ENOENT", none, fs[name](none))
      assert.is_string(err.op)
    end
    refused("ENOENT", none, in_task(fs.stat, none))
    refused("ENOENT", none, fs.remove(none, { recursive = true }))
    refused("ENOENT", none, fs.chmod(none, 0))
    refused("ENOENT", none, fs.utime(none, 0, 0))
    refused("ENOENT", none .. "/x", fs.write_file(none .. "/x", ""))
    refused("ENOENT", none .. "/x", fs.write_file(none .. "/x", "", { atomic = true }))
    refused("ENOENT", none .. "/x", fs.mkdir(none .. "/x"))
    refused("EEXIST", at(), fs.mkdir(at()))
    refused("ENOTDIR", file .. "/x", fs.mkdir(file .. "/x", { parents = true }))
    refused("EEXIST", file, fs.mkdir(file, { parents = true }))
    refused("EISDIR", at(), fs.read_file(at()))
    refused("EISDIR", at(), fs.write_file(at(), ""))
    refused("ENOTDIR", file, fs.scandir(file))
    refused("EINVAL", file, fs.readlink(file))
    assert.equal(file, refused("ENOENT", none, fs.rename(none, file)).path2)
    refused("ENOENT", none, fs.link(none, at "link"))
    refused("EEXIST", "target", fs.symlink("target", file))
    refused("ENOENT", none, fs.copy(none, at "copy"))
    refused("EEXIST", file, fs.copy(file, file, { exclusive = true }))
    refused("EINVAL", file, fs.copy(file, file))
    refused("EISDIR", at(), fs.copy(at(), at "copy"))
    refused("ENOENT", none .. "/xXXXXXX", fs.mkdtemp(none .. "/x"))
    refused("ENOENT", none .. "/xXXXXXX", fs.mkstemp(none .. "/x"))
    assert.equal("x", fs.read_file(file))
    assert.is_false(fs.exists(at "copy"))
  end)

  it("says where a path is wrong, and in which function", function()
    for _, name in ipairs { "access", "copy", "exists", "lines", "mkdir", "mkdtemp", "mkstemp",
      "remove", "walk", "write_file" } do
      assert.matches(("^[^:]*fs_spec.lua:%%d+: bad argument #1 to 'neap.fs.%s' %%(a path without")
        :format(name), catch(function() fs[name]("a\0b", "x") end))
    end
    assert.matches("^[^:]*fs_spec.lua:%d+: bad argument #1 to 'neap.fs.lines' %(path expected",
      catch(function() fs.lines() end))
  end)

  it("says what is wrong with an argument", function()
    assert.matches("#1 to 'neap.fs.stat' %(string expected, got no value%)", catch(fs.stat))
    assert.matches("#2 to 'neap.fs.rename' %(string expected", catch(fs.rename, "x"))
    assert.matches("#1 to 'neap.fs.stat' %(a path without zero bytes", catch(fs.stat, "a\0b"))
    assert.matches("#2 to 'neap.fs.chmod' %(integer expected", catch(fs.chmod, "x"))
    assert.matches("#2 to 'neap.fs.chmod' %(permissions are", catch(fs.chmod, "x", 4096))
    assert.matches("#2 to 'neap.fs.utime'", catch(fs.utime, "x", 0 / 0, 1))
    assert.matches("#3 to 'neap.fs.utime'", catch(fs.utime, "x", 1, math.huge))
    assert.matches("#1 to 'neap.fs.write_file' %(path expected, got nil%)", catch(fs.write_file))
    assert.matches("#2 to 'neap.fs.write_file' %(string expected", catch(fs.write_file, "x", {}))
    assert.matches("bad option 'atomic' to 'neap.fs.write_file' %(boolean expected, got string%)",
      catch(fs.write_file, "x", "", { atomic = "yes" }))
    assert.matches("bad option 'mode' to 'neap.fs.mkdir' %(permissions",
      catch(fs.mkdir, "x", { mode = "755" }))
    assert.matches("bad option 'deep' to 'neap.fs.remove' %(there is no such option%)",
      catch(fs.remove, "x", { deep = true }))
    assert.matches("#2 to 'neap.fs.remove' %(table expected, got boolean%)",
      catch(fs.remove, "x", true))
    assert.matches("all there is", catch(fs.remove, "//", { recursive = true }))
    assert.matches("#2 to 'neap.fs.access'", catch(fs.access, "x", "z"))
    assert.matches("#1 to 'neap.fs.mkdtemp' %(string expected, got integer%)", catch(fs.mkdtemp, 1))
    assert.matches("#1 to 'neap.fs.walk'", catch(fs.walk))
    assert.matches("spec/fs_spec.lua:%d+:", catch(function() fs.remove() end))
  end)

  it("knows what a path is", function()
    local file = write("file", "12345")
    assert(fs.symlink("file", at "link"))
    assert(fs.chmod(file, 416))
    assert(fs.utime(file, 1000.25, 2000.5))
    local stat = fs.stat(at "link")
    assert.equal("file", stat.type)
    assert.equal(5, stat.size)
    assert.equal(416, stat.mode)
    assert.equal(1000.25, stat.atime)
    assert.equal(2000.5, stat.mtime)
    assert.equal(1, stat.nlink)
    assert.equal("link", fs.lstat(at "link").type)
    assert.equal("directory", fs.stat(at()).type)
    assert.equal("char", fs.stat "/dev/null".type)
    assert.equal("file", fs.readlink(at "link"))
    assert.equal(fs.realpath(file), fs.realpath(at "link"))
    assert(fs.link(file, at "second"))
    assert.equal(2, fs.stat(file).nlink)
    assert.equal(fs.stat(file).ino, fs.stat(at "second").ino)
  end)

  it("knows what one may do", function()
    local file = write("file", "")
    assert.is_true(fs.access(file))
    assert.is_true(fs.access(file, "rw"))
    refused("EACCES", file, fs.access(file, "x"))
    assert.is_true(fs.exists(file))
    assert(fs.symlink("nowhere", at "link"))
    assert.is_false(fs.exists(at "link"))
  end)

  it("lists folders by name", function()
    for _, name in ipairs { "b", "c", "a" } do write(name, "") end
    assert(fs.mkdir(at "d"))
    assert(fs.symlink("a", at "e"))
    assert.same({
      { name = "a", type = "file" }, { name = "b", type = "file" }, { name = "c", type = "file" },
      { name = "d", type = "directory" }, { name = "e", type = "link" },
    }, fs.scandir(at()))
    assert.same({}, fs.scandir(at "d"))
  end)

  it("copies content and permissions", function()
    local file = write("file", "content")
    assert(fs.chmod(file, 448))
    write("copy", "something longer")
    assert.is_true(fs.copy(file, at "copy"))
    assert.equal("content", fs.read_file(at "copy"))
    assert.equal(448, fs.stat(at "copy").mode)
  end)

  it("renames, and replaces in doing so", function()
    write("from", "new")
    write("to", "old")
    assert.is_true(fs.rename(at "from", at "to"))
    assert.equal("new", fs.read_file(at "to"))
    assert.is_false(fs.exists(at "from"))
  end)

  describe("replacing a file at one go", function()
    it("keeps permissions, or sets those that are asked for", function()
      local file = write("file", "old")
      assert(fs.chmod(file, 384))
      assert.is_true(fs.write_file(file, "new", { atomic = true }))
      assert.equal("new", fs.read_file(file))
      assert.equal(384, fs.stat(file).mode)
      assert.is_true(fs.write_file(file, "newer", { atomic = true, mode = 420 }))
      assert.equal(420, fs.stat(file).mode)
      assert.is_true(fs.write_file(at "other", "x", { mode = 438 }))
      assert.equal(438, fs.stat(at "other").mode)
      assert.equal(2, #fs.scandir(at()))
    end)

    it("shows the old content or the new one, never another", function()
      local file = write("file", ("a"):rep(100000))
      local seen, done = 0, false
      local reader = neap.create_task(function()
        while not done do
          local data = assert(fs.read_file(file))
          assert.equal(100000, #data)
          assert.is_nil(data:find("[^" .. data:sub(1, 1) .. "]"))
          seen = seen + 1
        end
      end)
      for i = 1, 10 do
        assert(fs.write_file(file, string.char(97 + i):rep(100000), { atomic = true }))
      end
      done = true
      reader:await()
      assert.is_true(seen > 0)
    end)

    it("leaves nothing behind when it fails", function()
      assert(fs.mkdir(at "folder"))
      write("folder/x", "")
      refused("EISDIR", at "folder", fs.write_file(at "folder", "data", { atomic = true }))
      assert.equal(1, #fs.scandir(at()))
    end)

    it("leaves nothing behind when it is cancelled, wherever it is", function()
      local file, data = write("file", "old"), ("x"):rep(8 << 20)
      for _, delay in ipairs { 0, 0.0005, 0.001, 0.002, 0.004 } do
        local task = neap.create_task(fs.write_file, file, data, { atomic = true })
        neap.sleep(delay)
        task:cancel()
        pcall(task.await, task)
        local size = fs.stat(file).size
        assert.is_true(size == 3 or size == #data, size)
        assert.equal(1, #fs.scandir(at()))
      end
    end)
  end)

  it("makes temporary files and folders", function()
    local file, path = fs.mkstemp(at "name-")
    assert.matches("/name%-......$", path)
    assert.equal("<File " .. path .. ">", tostring(file))
    assert(file:write "data")
    assert(file:seek "set")
    assert.equal("data", file:read "a")
    file:close()
    assert.equal(384, fs.stat(path).mode)
    local dir = fs.mkdtemp(at "XXXXXX")
    assert.equal("directory", fs.stat(dir).type)
    assert.equal(448, fs.stat(dir).mode)
  end)

  it("serves many at once", function()
    local n = many(300)
    local g <close> = neap.TaskGroup()
    for i = 1, n do
      g:create_task(function()
        local path = at("f" .. i)
        assert(fs.write_file(path, tostring(i)))
        assert.equal(tostring(i), fs.read_file(path))
        assert(fs.remove(path))
      end)
    end
  end)

  it("refuses to wait in a callback of the loop, and before it has done anything", function()
    local err
    neap.get_event_loop():call_soon(function()
      err = catch(fs.write_file, at "file", "x")
    end)
    neap.sleep(0)
    assert.matches("cannot wait in 'neap.fs.write_file' inside a loop callback", err)
    assert.is_false(fs.exists(at "file"))
  end)

  it("leaves nothing behind when it is cancelled at any wait", function()
    local before = helper.descriptors()
    local waits = test.cancel_sweep(function()
      assert(fs.mkdir(at "a/b", { parents = true }))
      assert(fs.write_file(at "a/b/c", "text", { atomic = true }))
      assert.equal("text", fs.read_file(at "a/b/c"))
      assert(fs.copy(at "a/b/c", at "a/d"))
      assert.equal(2, #fs.scandir(at "a"))
      fs.stat(at "a")
      assert(fs.remove(at "a", { recursive = true }))
      local dir = assert(fs.mkdtemp(at "t"))
      assert(fs.remove(dir))
      local file, path = fs.mkstemp(at "t")
      file:close()
      assert(fs.remove(path))
    end)
    assert.is_true(waits >= 10)
    helper.await_descriptors(before)
    -- What was made by a cancelled mkdtemp or mkstemp is gone again; what the next call
    -- would have removed is not: one each at most.
    local left = 0
    for _, entry in ipairs(fs.scandir(at())) do
      if entry.name:sub(1, 1) == "t" then left = left + 1 end
      assert.is_nil(entry.name:find "^%.neap")
    end
    assert.is_true(left <= 4, left)
  end)

  it("ends with its loop", function()
    local result = helper.run([[
      local neap = require "neap"
      local fs = require "neap.fs"
      neap.run(function()
        for i = 1, 50 do
          neap.create_task(fs.write_file, "f" .. i, ("x"):rep(1000000), { atomic = true })
        end
        neap.sleep(0)
        neap.sleep(0)
      end)
      local n = 0
      for _, entry in ipairs(fs.scandir ".") do
        if entry.name:sub(1, 5) == ".neap" then n = n + 1 end
      end
      print(n)
    ]])
    assert.equal("0\n", result.out)
    assert.equal(0, result.code, result.err)
  end)

  it("gives EMFILE when there are no descriptors left", function()
    local result = helper.run([[
      local fs = require "neap.fs"
      fs.write_file("x", "data")
      fs.mkdir("d")
      local open = {}
      while true do
        local file, err = fs.open("x")
        if not file then
          print(err.code, err.path)
          break
        end
        open[#open + 1] = file
      end
      print(select(2, fs.read_file("x")).code)
      print(select(2, fs.write_file("x", "y", { atomic = true })).code)
      print(select(2, fs.scandir(".")).code)
      print(select(2, fs.remove("d", { recursive = true })).code)
      for _, file in ipairs(open) do file:close() end
      print(fs.read_file("x"), fs.remove("d", { recursive = true }))
    ]], { env = "ulimit -n 40 &&" })
    assert.equal("EMFILE\tx\nEMFILE\nEMFILE\nEMFILE\nEMFILE\ndata\ttrue\n", result.out)
  end)
end)
