--- neap.tty: standard streams, terminals. The host is run under a pseudo-terminal that
--- `script` makes.

local neap = require "neap"
local tty = require "neap.tty"
local process = require "neap.process"
local helper = require "spec.helper"

local catch = helper.catch

local host = helper.host
if host:sub(1, 1) ~= "/" then host = os.getenv "PWD" .. "/" .. host end

local function content(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function put(path, text)
  local file <close> = assert(io.open(path, "wb"))
  file:write(text)
end

--- A folder with main.lua, removed at the end.
local function folder(script)
  local pipe <close> = assert(io.popen "mktemp -d")
  local dir = pipe:read "l"
  put(dir .. "/main.lua", 'local neap, tty = require "neap", require "neap.tty"\n' .. script)
  return dir, helper.closing(function() os.execute("rm -rf '" .. dir .. "'") end)
end

--- Runs main.lua under a terminal: `talk` is pairs of what to wait for in its output and
--- the keys to press then. Gives the output, the exit code, and whether the terminal is
--- as it was.
local function terminal(script, talk, opts)
  opts = opts or {}
  local dir <const>, _dir <close> = folder(script)
  put(dir .. "/run.sh", ([[
    trap : INT
    stty cols 100 rows 30; stty -g >before
    %s
    echo $? >code; stty -g >after
  ]]):format(opts.run or 'timeout --foreground 50 "$H" main.lua'))
  local child <close> = assert(process.spawn { "script", "-qec", "bash ./run.sh", "/dev/null",
    cwd = dir, stdin = "pipe", stdout = "pipe", env_extra = { H = host } })
  local out = {}
  for i = 1, #(talk or {}), 2 do
    out[#out + 1] = assert(child.stdout:read_until(talk[i]))
    child.stdin:write(talk[i + 1])
  end
  out[#out + 1] = child.stdout:read "a"
  child:wait()
  local before, after = content(dir .. "/before"), content(dir .. "/after")
  return (table.concat(out):gsub("\r\n", "\n")), math.tointeger(content(dir .. "/code")),
    before == after and "restored" or before .. after
end

--- The same in a shell, without a terminal. The host is "$H".
local function shell(command, script)
  local dir <const>, _dir <close> = folder(script)
  local result = assert(process.run { "bash", "-c", command, cwd = dir, timeout = 50,
    env_extra = { H = host } })
  return result.stdout, result.code, result.stderr
end

describe("the standard streams under a terminal #host", function()
  it("are streams, and know their size", function()
    local out, code = terminal [[
      print(tty.isatty(0), tty.isatty(tty.stdout), tty.isatty(io.stderr))
      print(tty.size()) print(tty.stdout:winsize()) print(tty.size(2))
      print((tostring(tty.stdin):gsub("%d+", "N")))
    ]]
    assert.equal("true\ttrue\ttrue\n100\t30\n100\t30\n100\t30\n<Stream tty fd=N>\n", out)
    assert.equal(0, code)
  end)

  it("do not hold up other tasks while one waits for a line", function()
    local out = terminal([[
      neap.create_task(function()
        for i = 1, 3 do neap.sleep(0.001) end
        tty.stdout:write "name? "
      end)
      local name = tty.stdin:read()
      tty.stdout:write("hello ", name, "\n")
      tty.stderr:write "second? "
      print(tty.stdin:read())
    ]], { "name? ", "neap\n", "second? ", "line\n" })
    assert.equal("name? neap\nhello neap\nsecond? line\nline\n", out)
  end)

  it("leave what nobody asked for to others", function()
    local out = terminal([[
      print "go"
      print(tty.stdin:read())
      print "next"
      local pipe = io.popen "read x; echo child $x"
      io.write(pipe:read "a")
    ]], { "go", "one\n", "next", "two\n" })
    assert.matches("one\nnext\n", out)
    assert.matches("child two\n", out)
  end)

  it("do not keep the program alive, and cost no descriptors", function()
    local out, code = terminal [[
      local function count()
        local n = 0
        local pipe <close> = io.popen "sleep 0.01; ls /proc/$PPID/fd"
        for _ in pipe:lines() do n = n + 1 end
        return n
      end
      local function use() assert(tty.stdin and tty.stdout) end
      neap.run(use)
      local before = count()
      for i = 1, 10 do neap.run(use) end
      print(count() - before, tty.stdin)
    ]]
    assert.matches("^0\t<Stream tty fd=%d+>\n$", out)
    assert.equal(0, code)
  end)

  it("leave print as it is", function()
    local out = terminal [[
      tty.stdout:write(("x"):rep(100), "\n")
      for i = 1, 3000 do print(("y"):rep(99)) end
      assert(os.execute "true")
    ]]
    assert.equal(100 + 1 + 3000 * 100, #out)
  end)

  it("end with the key for it, and open again", function()
    local out = terminal([[
      print "go"
      print(tty.stdin:read())
      tty.stdin:close()
      print "again"
      print(tty.stdin:read())
    ]], { "go", "\4", "again", "more\n" })
    assert.matches("nil\nagain\nmore\nmore\n", out)
  end)
end)

describe("the mode of a terminal #host", function()
  it("raw gives every key", function()
    local out, code, mode = terminal([[
      local _ <close> = assert(tty.raw())
      print "ready"
      local key = tty.stdin:read_some()
      print(key:byte(1, -1))
      assert(tty.stdin:read_some() == "\3")
      print(_)
    ]], { "ready", "\13", "13", "\3" })
    assert.equal("ready\n13\n<TerminalMode raw>\n", out)
    assert.same({ 0, "restored" }, { code, mode })
  end)

  local ways = {
    ["at the end"] = { "", 0 },
    ["by close"] = { "guard:close() guard:close()", 0 },
    ["by an error"] = { "error 'x'", 1 },
    ["by an error of a task"] = { "neap.create_task(error, 'x') neap.sleep(0.01)", 1 },
    ["by os.exit"] = { "os.exit(3)", 3 },
    ["by os.exit that closes"] = { "os.exit(4, true)", 4 },
    ["by os.exit in a task"] = { "neap.create_task(os.exit, 5) neap.sleep(1)", 5 },
    ["by a deadlock"] = { "neap.Event():wait()", 1 },
    ["by SIGTERM"] = { "io.popen 'kill -TERM $PPID' neap.sleep(5)", 143 },
    ["by SIGHUP"] = { "io.popen 'kill -HUP $PPID' neap.sleep(5)", 129 },
    ["by SIGQUIT"] = { "guard = tty.raw() io.popen 'kill -QUIT $PPID' neap.sleep(5)", 131 },
    ["by a signal that was heard before"] = { [[
      local signal = require "neap.signal"
      local listener = signal.listen "SIGHUP"
      signal.raise "SIGHUP"
      assert(listener:wait() == "SIGHUP")
      listener:close()
      signal.raise "SIGHUP"
    ]], 129 },
    ["by SIGINT"] = { "io.popen 'kill -INT $PPID' neap.sleep(5)", 130 },
    ["by cancellation"] = { [[
      guard:close()
      local task = neap.create_task(function()
        local _ <close> = tty.raw()
        neap.sleep(10)
      end)
      neap.sleep(0)
      task:cancel()
    ]], 0 },
    ["by set_mode"] = { "tty.set_mode 'cbreak' tty.set_mode 'normal' guard = nil", 0 },
    ["after set_mode"] = { "assert(tty.set_mode 'raw') assert(tty.set_mode 'noecho')", 0 },
    ["with stdin closed"] = { "tty.stdin:close() io.stdin:close() error 'x'", 1 },
    ["with a reader"] = { "neap.create_task(function() tty.stdin:read() end)\n"
      .. "neap.sleep(0.001) error 'x'", 1 },
  }
  for name, way in pairs(ways) do
    it("is put back " .. name, function()
      local _, code, mode = terminal("guard = assert(tty.raw())\n" .. way[1])
      assert.same({ way[2], "restored" }, { code, mode })
    end)
  end

  it("is put back by stock Lua's os.exit, and for a module", function()
    local so = host:gsub("neap$", "?.so")
    local file = io.open((so:gsub("%?", "neap")), "rb")
    if not file then return end
    file:close()
    for _, way in ipairs { "os.exit(3)", "os.exit(3, true)", "error 'x'",
      "require('neap.signal').raise 'SIGTERM'" } do
      local out, _, mode = terminal("guard = assert(tty.raw())\n" .. way, nil,
        { run = ("LUA_CPATH='%s' lua5.4 main.lua"):format(so) })
      assert.equal("restored", mode, out)
    end
  end)

  it("is that of the latest guard which is open", function()
    local out, _, mode = terminal [[
      local function flags()
        local pipe <close> = io.popen "stty -a"
        local text = pipe:read "a"
        return (text:match "%-?icanon" .. text:match "%-?isig" .. text:match " %-?echo ")
      end
      local a <close> = tty.mode "noecho"
      print(flags())
      local b <close> = tty.raw()
      print(flags())
      local c <close> = tty.mode "cbreak"
      print(flags())
      b:close()
      print(flags())
      c:close()
      print(flags())
      a:close()
      print(flags())
    ]]
    assert.equal("icanonisig -echo \n-icanon-isig -echo \n-icanonisig -echo \n"
      .. "-icanonisig -echo \nicanonisig -echo \nicanonisig echo \n", out)
    assert.equal("restored", mode)
  end)

  it("lets Ctrl-C through, but in raw", function()
    local out, code, mode = terminal([[
      local _ <close> = assert(tty.mode "cbreak")
      neap.get_event_loop():call_later(0.001, print, "ready")
      print(pcall(tty.stdin.read_some, tty.stdin))
    ]], { "ready", "\3" }, { run = '"$H" main.lua' })
    assert.matches("false\tKeyboardInterrupt", out)
    assert.same({ 0, "restored" }, { code, mode })
  end)

  it("is put back while the job is stopped, and set when it goes on", function()
    local out, code, mode = terminal([[
      local _ <close> = assert(tty.raw())
      tty.suspend()
      local pipe <close> = io.popen "stty -a"
      print(pipe:read "a":match "%-?icanon")
    ]], nil, { run = [[
      set -m
      "$H" main.lua & pid=$!
      until grep -q 'T (stopped)' /proc/$pid/status; do sleep 0.01; done
      stty -g >stopped
      cmp before stopped
      kill -CONT -$pid
      wait -f $pid
    ]] })
    assert.matches("%-icanon\n", out)
    assert.same({ 0, "restored" }, { code, mode })
  end)

  it("needs a terminal", function()
    local out = shell("setsid $H main.lua </dev/null 2>/dev/null | cat", [[
      print(tty.raw())
      print(tty.set_mode("raw", 0))
      print(tty.size())
      print(tty.isatty(0), tty.isatty(tty.stdout))
    ]])
    local refused = "nil\tOSError: %s: inappropriate ioctl for device (ENOTTY)\n"
    assert.equal(refused:format "tcgetattr" .. refused:format "tcsetattr"
      .. refused:format "winsize" .. "false\tfalse\n", out)
  end)
end)

describe("tty", function()
  it("refuses wrong arguments", function()
    assert.matches("#1 .*invalid option 'x'", catch(tty.mode, "x"))
    assert.matches("#1 .*string expected", catch(tty.mode))
    assert.matches("#2 .*stream, file or descriptor expected, got table",
      catch(tty.mode, "raw", {}))
    assert.matches("#1 .*stream, file or descriptor expected", catch(tty.size, "x"))
    assert.matches("#1 .*descriptor expected", catch(tty.size, -1))
    assert.matches("#1 .*value expected", catch(tty.isatty))
    assert.is_nil(tty.nothing)
    assert.is_false(tty.isatty(12345))
    assert.equal("EBADF", select(2, tty.size(12345)).code)
    local file = io.tmpfile()
    assert.is_false(tty.isatty(file))
    file:close()
    assert.matches("closed file", catch(tty.isatty, file))
    assert.is_not_nil(neap)
  end)
end)
