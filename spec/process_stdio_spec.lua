--- Child processes: their streams, their descriptors, their environment.

local neap = require "neap"
local process = require "neap.process"
local fs = require "neap.fs"
local helper = require "spec.helper"
local children = require "spec.support.children"

local shell = children.shell

--- A file with the text, open for reading.
local function file_with(text)
  local file = io.tmpfile()
  file:write(text)
  file:seek "set"
  return file
end

describe("The streams of a process", function()
  it("are there where they were asked for", function()
    local child <close> = shell("cat; echo err >&2", { stdin = "pipe", stdout = "pipe",
      stderr = "pipe" })
    assert.matches("^<Stream pipe fd=%d+>$", tostring(child.stdin))
    child.stdin:write "one\ntwo\n"
    assert.equal("one", child.stdout:read())
    child.stdin:write "three"
    child.stdin:shutdown()
    assert.equal("two\nthree", child.stdout:read "a")
    assert.equal("err", child.stderr:read())
    assert.equal(0, child:wait())
  end)

  it("go one way", function()
    local child <close> = shell("cat", { stdin = "pipe", stdout = "pipe" })
    assert.matches("not open for reading",
      helper.catch(child.stdin.read, child.stdin))
    assert.matches("not open for writing",
      helper.catch(child.stdout.write, child.stdout, "x"))
  end)

  it("end with close as well as with shutdown", function()
    for _, how in ipairs { "close", "shutdown" } do
      local child <close> = shell("cat; exit 3", { stdin = "pipe", stdout = "pipe" })
      child.stdin:write(("x"):rep(10000))
      child.stdin[how](child.stdin)
      assert.equal(10000, #child.stdout:read "a")
      assert.equal(3, child:wait())
      assert.is_true(child.stdin:is_closed())
    end
  end)

  it("can be read after the end of the process", function()
    local child <close> = shell("echo text", { stdout = "pipe" })
    child:wait()
    assert.equal("text\n", child.stdout:read "a")
    assert.is_nil(child.stdout:read())
  end)

  it("tell that nobody reads any more", function()
    local child <close> = shell("exec <&-; echo ready; read line", { stdin = "pipe",
      stdout = "pipe" })
    child.stdout:read()
    local done, err
    repeat done, err = child.stdin:write(("x"):rep(100000)) until not done
    assert.equal("EPIPE", err.code)
  end)

  it("let a writer wait until the process reads", function()
    local child <close> = shell("read line; echo; cat >/dev/null", { stdin = "pipe",
      stdout = "pipe" })
    local written = 0
    local task = helper.start(function()
      for _ = 1, 100 do
        child.stdin:write(("x"):rep(16384))
        written = written + 1
      end
    end)
    assert.is_true(written < 100)
    child.stdin:write "\n"
    task:await()
    assert.equal(100, written)
  end)

  it("are pipes: programs can open them", function()
    local child <close> = shell("cat /dev/stdin >/dev/stdout; echo err >/dev/stderr",
      { stdin = "pipe", stdout = "pipe", stderr = "pipe" })
    child.stdin:write "text"
    child.stdin:close()
    assert.equal("text", child.stdout:read "a")
    assert.equal("err\n", child.stderr:read "a")
  end)

  it("block for the process, not for us", function()
    local child <close> = shell("cat /proc/self/fdinfo/[012] | grep flags; cat", { stdin = "pipe",
      stdout = "pipe", stderr = "pipe" })
    for _ = 1, 3 do
      local flags = tonumber(child.stdout:read():match "%d+", 8)
      assert.equal(0, flags & tonumber("4000", 8)) -- O_NONBLOCK
    end
  end)
end)

describe("stdin, stdout and stderr", function()
  it("may be nothing", function()
    local child <close> = shell("cat; echo x; echo y >&2; exit 5", { stdin = "null",
      stdout = "null", stderr = "null" })
    assert.equal(5, child:wait())
    assert.is_nil(child.stdin)
    local result = process.run { "ls", "-l", "/proc/self/fd", stderr = "null" }
    assert.matches(" 0 %-> /dev/null\n.* 2 %-> /dev/null\n", result.stdout)
  end)

  it("may be the same", function()
    local child <close> = shell("echo one; echo two >&2; echo three", { stdout = "pipe",
      stderr = "stdout" })
    assert.equal("one\ntwo\nthree\n", child.stdout:read "a")
    assert.is_nil(child.stderr)
    local result = assert(process.run { "sh", "-c", "echo one; echo two >&2", stderr = "stdout" })
    assert.same({ code = 0, stdout = "one\ntwo\n" }, result)
  end)

  it("may be files of Lua's", function()
    local input <close> = file_with "text"
    local output <close> = io.tmpfile()
    output:write "before\n"
    local child <close> = shell("cat; echo; echo err >&2", { stdin = input, stdout = output,
      stderr = output })
    assert.equal(0, child:wait())
    output:seek "set"
    assert.equal("before\ntext\nerr\n", output:read "a")
  end)

  it("may be files of neap.fs", function()
    local file <close> = assert(require("neap.fs").open("spec/process_stdio_spec.lua"))
    local result = assert(process.run { "head", "-c", "19", stdin = file })
    assert.equal("--- Child processes", result.stdout)
  end)

  it("may be descriptors", function()
    local core = require "neap.core.test"
    local r, w = core.pipe()
    local child <close> = shell("echo text", { stdout = w })
    assert.equal(0, child:wait())
    core.fd_close(w)
    assert.equal("text\n", core.fd_read(r, 100))
    core.fd_close(r)
  end)

  it("may not be objects whose fileno is no descriptor", function()
    for _, fileno in ipairs { 5, function() return -1 end, function() return 1 << 40 end } do
      assert.error_matches(function()
        process.spawn { "true", stdin = { fileno = fileno } }
      end, "bad option 'stdin' to 'neap.process.spawn' %(.*descriptor expected, got table%)")
    end
  end)

  it("may be files of neap.fs, from their position on", function()
    local name = os.tmpname()
    local file = assert(fs.open(name, "w+"))
    file:write("one\ntwo\nthree\n")
    file:seek("set", 0)
    assert.equal("one", file:read())
    assert.equal("two\nthree\n", process.run({ "cat", stdin = file }).stdout)
    file:seek("set", 4)
    file:write "2"
    assert.equal(0, process.run({ "printf", "ZZ", stdout = file }).code)
    file:close()
    assert.equal("one\n2ZZ\nthree\n", fs.read_file(name))
    assert.error_matches(function() process.spawn { "true", stdin = file } end,
      "bad option 'stdin' to 'neap.process.spawn' %(the file is closed%)")
    local full = assert(fs.open("/dev/full", "w"))
    full:write "x"
    assert.error_matches(function() process.spawn { "true", stdout = full } end,
      "bad option 'stdout' to 'neap.process.spawn' %(the file cannot be written%)")
    full:close()
    os.remove(name)
  end)

  it("may be objects with a fileno of their own", function()
    local core = require "neap.core.test"
    local r, w = core.pipe()
    local child <close> = shell("echo text", { stdout = { fileno = function() return w end } })
    assert.equal(0, child:wait())
    core.fd_close(w)
    assert.equal("text\n", core.fd_read(r, 100))
    core.fd_close(r)
  end)

  it("may be streams, which are the child's from then on", function()
    local first <close> = shell("echo c; echo a; echo b", { stdout = "pipe" })
    local second <close> = assert(process.spawn { "sort", stdin = first.stdout, stdout = "pipe" })
    assert.is_true(first.stdout:is_closed())
    assert.equal("a\nb\nc\n", second.stdout:read "a")
    assert.matches("bad option 'stdin' to 'neap.process.spawn' %(the stream is closed%)",
      helper.catch(process.spawn, { "cat", stdin = first.stdout }))
  end)

  it("may not be streams that have been read from", function()
    local first <close> = shell("echo one; echo two", { stdout = "pipe" })
    first.stdout:read()
    assert.matches("bad option 'stdin' .*%(the stream has been read from%)",
      helper.catch(process.spawn, { "cat", stdin = first.stdout }))
  end)

  it("stay as they were when the process could not be started", function()
    local first <close> = shell("echo one", { stdout = "pipe" })
    assert.is_nil((process.spawn { "neap-has-no-such-program", stdin = first.stdout }))
    assert.equal("one\n", first.stdout:read "a")
  end)

  it("are those of the program by default", function()
    local result = helper.run [[
local process = require "neap.process"
io.write "a "
io.stdout:flush()
process.spawn { "sh", "-c", "echo b; echo err >&2; cat" }:wait()
print "c"]]
    assert.same({ "a b\nc\n", "err\n" }, { result.out, result.err })
  end)
end)

describe("A process", function()
  it("has no descriptors but those that it is given", function()
    local file <close> = io.open "/dev/null"
    local pipe <close> = io.popen "cat"
    local other <close> = shell("cat", { stdin = "pipe", stdout = "pipe" })
    local result = assert(process.run { "ls", "/proc/self/fd" })
    assert.equal("0\n1\n2\n3\n", result.stdout) -- 3 is the directory
    assert.is_true(file and pipe and other:is_running())
  end)

  it("starts in the directory that it is given", function()
    assert.equal("/\n", process.run({ "pwd", cwd = "/" }).stdout)
  end)

  it("has the environment that it is given", function()
    local env = { A = "1", B = "a b=c", N = 2, EMPTY = "" }
    assert.equal("A=1\nB=a b=c\nEMPTY=\nN=2\n", process.run({ "/usr/bin/env", env = env }).stdout)
    assert.equal("", process.run({ "/usr/bin/env", env = {} }).stdout)
  end)

  it("has ours, with changes", function()
    local path = os.getenv "PATH"
    local function variable(name, changes)
      return process.run({ "sh", "-c", ('printf %%s "${%s-none}"'):format(name),
        env_extra = changes }).stdout
    end
    assert.equal(path, variable("PATH", {}))
    assert.equal(path, variable("PATH", { NEAP_X = "1" }))
    assert.equal("1", variable("NEAP_X", { NEAP_X = "1" }))
    assert.equal("none", variable("HOME", { HOME = false }))
    assert.equal("b", process.run({ "/bin/sh", "-c", 'echo -n "$A"', env = { A = "a" },
      env_extra = { A = "b" } }).stdout)
  end)

  it("is looked for on its own PATH", function()
    local child, err = process.spawn { "true", env = { PATH = "/nowhere" } }
    assert.is_nil(child)
    assert.equal("ENOENT", err.code)
  end)

  it("minds the signals that we do not", function()
    -- SIGPIPE is ignored here.
    local result = process.run { "sh", "-c", "kill -PIPE $$; exit 3" }
    assert.equal("SIGPIPE", result.signal)
  end)

  it("is in a session of its own where it is detached or has a group", function()
    local function session(options)
      options.stdout = "pipe"
      local child <close> = shell("cut -d' ' -f6 /proc/$$/stat; read line", options)
      local id = child.stdout:read "n"
      child:kill()
      child:wait()
      return id == child.pid
    end
    assert.is_false(session { stdin = "pipe" })
    assert.is_true(session { stdin = "pipe", group = true })
    assert.is_true(session { stdin = "pipe", detached = true })
  end)
end)

it("A pipeline of streams works in both directions", function()
  local upper <close> = assert(process.spawn { "tr", "a-z", "A-Z", stdin = "pipe",
    stdout = "pipe" })
  local sort <close> = assert(process.spawn { "sort", stdin = "pipe", stdout = "pipe" })
  local group <close> = neap.TaskGroup()
  group:create_task(function()
    upper.stdin:write "b\na\n"
    upper.stdin:shutdown()
  end)
  group:create_task(function()
    assert(upper.stdout:pipe(sort.stdin))
    sort.stdin:close()
  end)
  assert.equal("A\nB\n", sort.stdout:read "a")
end)
