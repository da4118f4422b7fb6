--- neap.tty: the standard streams where they are no terminal.

local neap = require "neap"
local process = require "neap.process"
local helper = require "spec.helper"

local host = helper.host
if host:sub(1, 1) ~= "/" then host = os.getenv "PWD" .. "/" .. host end

-- What has come before a stream looks for the first time is read ahead: what is to come
-- later waits until a file is there.
local AWAIT = [[
  await() { for _ in $(seq 4000); do test -e "$1" && return; sleep 0.01; done; }
  export -f await
]]
local MADE = 'local function made(name) assert(io.open(name, "w")):close() end\n'

--- Runs a command of bash in a folder with main.lua; the host is "$H". `await NAME` in the
--- command waits for what `made "NAME"` in the script makes.
local function shell(command, script)
  local pipe <close> = assert(io.popen "mktemp -d")
  local dir = pipe:read "l"
  local _dir <close> = helper.closing(function() os.execute("rm -rf '" .. dir .. "'") end)
  do
    local file <close> = assert(io.open(dir .. "/main.lua", "wb"))
    file:write('local neap, tty = require "neap", require "neap.tty"\n', MADE, script)
  end
  local result = assert(process.run { "bash", "-c", AWAIT .. command, cwd = dir, timeout = 50,
    env_extra = { H = host } })
  return result.stdout, result.code, result.stderr
end

describe("the standard streams #host", function()
  local COPY = [[
    local n = 0
    for line in tty.stdin:lines() do
      n = n + 1
      tty.stdout:write(line, "\n")
    end
    tty.stdout:flush()
    tty.stderr:write("lines: ", n, "\n")
  ]]

  -- what is read, what is written, and what stderr is
  local matrix = {
    { "$H main.lua </dev/null", "", "lines: 0\n" },
    { "printf 'a\\nb' >in; $H main.lua <in", "a\nb\n", "lines: 2\n" },
    { "printf 'a\\nb' >in; $H main.lua <in | cat", "a\nb\n", "lines: 2\n" },
    { "printf 'a\\nb' | $H main.lua", "a\nb\n", "lines: 2\n" },
    { "printf 'a\\nb' | $H main.lua | cat", "a\nb\n", "lines: 2\n" },
    { "printf 'a\\nb' | $H main.lua >out; cat out", "a\nb\n", "lines: 2\n" },
    { "printf 'a\\nb' | $H main.lua >out 2>&1; cat out", "a\nb\nlines: 2\n", "" },
    { "printf 'a\\nb' | $H main.lua 2>&1 | cat", "a\nb\nlines: 2\n", "" },
    { "echo x >out; printf 'a\\nb' | $H main.lua >>out; cat out", "x\na\nb\n", "lines: 2\n" },
    { "printf 'a\\nb' | $H main.lua >/dev/null", "", "lines: 2\n" },
    { "mkfifo f; printf 'a\\nb' >f & $H main.lua <f; wait", "a\nb\n", "lines: 2\n" },
    { "seq 20000 | $H main.lua | tail -1", "20000\n", "lines: 20000\n" },
    { "seq 20000 >in; $H main.lua <in >out; cmp in out", "", "lines: 20000\n" },
  }
  for _, case in ipairs(matrix) do
    it("work in: " .. case[1]:gsub("\\n", "_"), function()
      local out, code, err = shell(case[1], COPY)
      assert.same({ case[2], 0, case[3] }, { out, code, err })
    end)
  end

  it("are sockets, and put back as they were", function()
    local out, code = shell(
      [[echo 'echo a; await end; echo b; cat >out' >peer
        echo '$H main.lua; : >end; head -1' >run
        socat -t5 EXEC:'bash ./run' EXEC:'bash ./peer' && cat out]], [[
      print((tostring(tty.stdout):gsub("%d+", "N")))
      tty.stdout:write(tty.stdin:read(), "\n")
      io.write "end\n"
    ]])
    assert.equal("<Stream pipe fd=N>\na\nend\nb\n", out)
    assert.equal(0, code)
  end)

  it("write to a file at once, beside print and children", function()
    local out = shell("$H main.lua >out; cat out", [[
      local process = require "neap.process"
      tty.stdout:write("a", 1, "\n")
      os.execute "echo b"
      assert(process.run { "echo", "c", stdout = "inherit" })
      neap.create_task(function() tty.stdout:write("d\n") end):await()
      print "e"
      io.stdout:flush()
      tty.stdout:write("f\n")
      os.exit(0, false)
    ]])
    assert.equal("a1\nb\nc\nd\ne\nf\n", out)
  end)

  it("are nil where there are none", function()
    assert.equal("nil\ttrue\n", (shell("$H main.lua <&-", [[
      print(tty.stdin, tty.stdout ~= nil)
    ]])))
  end)

  it("may be missing, all of them", function()
    local out, code = shell([[
      $H main.lua <&- >&- 2>&- && $H main.lua <&- && $H main.lua >&- && cat out
    ]], [[
      local process = require "neap.process"
      local result = assert(process.run { "sh", "-c", "read x; ls -l /proc/self/fd/ >&2" })
      local file <close> = io.open("out", "a")
      file:write(tostring(tty.stdin), " ", tostring(tty.isatty(tty.stdin)), " ",
        tostring(result.stderr:find("eventpoll")), "\n")
      assert(process.run { "true", stdin = "inherit", stdout = "inherit", stderr = "inherit" })
    ]])
    assert.equal("nil false nil\nnil false nil\n", (out:gsub("<[^\n]*\n$", "")))
    assert.equal(0, code)
  end)

  it("do not make pipes of others nonblocking, and leave print as it is", function()
    local out, code = shell([[
      (echo a; await read; echo b) | { $H main.lua; cat; } |
        { await read; sleep 0.1; cat; } >out
      head -2 out; tail -1 out; wc -c <out
    ]], [[
      print(tty.stdin:read())
      made "read"
      tty.stdout:write("stream\n")
      for i = 1, 3000 do print(("y"):rep(99)) end
    ]])
    assert.equal(("a\nstream\nb\n%d\n"):format(2 + 7 + 300000 + 2), out)
    assert.equal(0, code)
  end)

  it("leave what nobody asked for where it is", function()
    local out = shell([[
      { echo a; await read; echo b; : >sent; } | { $H main.lua; echo next; cat; }
    ]], [[
      local fs = require "neap.fs"
      print(tty.stdin:read())
      made "read"
      while not fs.exists "sent" do neap.sleep(0.005) end
      neap.sleep(0.05)
    ]])
    assert.equal("a\nnext\nb\n", out)
  end)

  it("hand on to the next loop what was read ahead", function()
    local out = shell("seq 6 | $H main.lua", [[
      local function take() print(tty.stdin:read()) end
      take() take()
      neap.run(take)
      neap.run(take)
      take() take() take()
    ]])
    assert.equal("1\n2\n3\n4\n5\n6\nnil\n", out)
  end)

  it("do not hold up other tasks while one reads", function()
    local out = shell("{ await others; echo end; } | $H main.lua", [[
      local n = 0
      local task = neap.create_task(function()
        while true do
          neap.sleep(0.005)
          n = n + 1
          if n == 3 then made "others" end
        end
      end)
      print(tty.stdin:read(), n > 2)
      task:cancel()
    ]])
    assert.equal("end\ttrue\n", out)
  end)

  it("give nil and EPIPE when the reader has gone", function()
    local _, code, err = shell("$H main.lua | head -1 >/dev/null; exit ${PIPESTATUS[0]}", [[
      local n = 0
      while true do
        local ok, err = tty.stdout:write(("x"):rep(1000), "\n")
        if not ok then
          tty.stderr:write(err.code, "\n")
          break
        end
        n = n + 1
        assert(n < 10000)
      end
      os.exit(7)
    ]])
    assert.same({ 7, "EPIPE\n" }, { code, err })
  end)

  it("do not take memory for what a slow reader has not read", function()
    local out = shell("$H main.lua | { sleep 0.1; wc -c; }", [[
      local function size(name)
        for line in io.lines "/proc/self/status" do
          local kb = line:match("^" .. name .. ":%s+(%d+)")
          if kb then return tonumber(kb) end
        end
      end
      local text = ("x"):rep(1000)
      tty.stdout:write(text)
      local before = size "VmHWM"
      for i = 1, 20000 do tty.stdout:write(text) end
      local more = size "VmHWM" - before
      local sanitized = size "VmSize" > 1 << 30 -- it keeps what was freed
      tty.stdout:write((more < 12000 or sanitized) and "" or more .. " KB more")
    ]])
    assert.equal("20001000\n", out)
  end)

  it("write what a task wrote last, however the program ends", function()
    for _, way in ipairs { "", "os.exit(0)", "error 'x'", "neap.sleep(0) os.exit(0, true)" } do
      for _, cat in ipairs { "| cat", ">out; cat out" } do
        local out = shell("$H main.lua 2>/dev/null " .. cat, [[
          neap.create_task(function() tty.stdout:write "last" ]] .. way .. [[ end)
          neap.sleep(0.01)
        ]])
        assert.equal("last", out)
      end
    end
  end)

  it("time out and are cancelled while they read", function()
    local out, code = shell("{ await late; echo late; } | $H main.lua", [[
      local task = neap.create_task(function() return tty.stdin:read() end)
      neap.sleep(0)
      task:cancel()
      neap.sleep(0)
      print(pcall(function()
        local _ <close> = neap.timeout(0.01)
        return tty.stdin:read()
      end))
      made "late"
      print(task:cancelled(), tty.stdin:read())
    ]])
    assert.equal("false\tTimeoutError\ntrue\tlate\n", out)
    assert.equal(0, code)
    assert.is_not_nil(neap)
  end)
end)
