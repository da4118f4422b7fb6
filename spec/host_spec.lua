--- The host as a program: options, exit codes, signals. Stock Lua is the reference
--- for everything that is not concurrency, so most cases run both and compare.

local host = os.getenv "NEAP_HOST" or arg[-1]
local stock = os.getenv "NEAP_LUA" or "lua5.4"

local dir

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function content(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

local function write(name, text)
  local file <close> = assert(io.open(dir .. "/" .. name, "wb"))
  file:write(text)
end

--- Runs a command line in the folder of the test; $X is the interpreter.
local function run(interpreter, line, stdin)
  write("stdin.txt", stdin or "")
  local script = ([[
cd %s || exit 99
ulimit -t 10
unset LUA_INIT LUA_INIT_5_4 LUA_PATH LUA_CPATH LUA_PATH_5_4 LUA_CPATH_5_4
X=%s
{ %s
} >out.txt 2>err.txt <stdin.txt
]]):format(quote(dir), quote(interpreter), line)
  write("run.sh", script)
  local _, kind, code = os.execute("sh " .. quote(dir .. "/run.sh"))
  return {
    out = content(dir .. "/out.txt"),
    err = content(dir .. "/err.txt"),
    code = kind == "signal" and 128 + code or code,
  }
end

local function neap(line, stdin) return run(host, line, stdin) end

--- What may differ is taken out: the name of the program, addresses, tracebacks.
local function plain(result, interpreter)
  local name = interpreter:match "[^/]+$"
  local lines = {}
  local at, stop = result.out:find(interpreter, 1, true)
  while at do
    result.out = result.out:sub(1, at - 1) .. "PROGRAM" .. result.out:sub(stop + 1)
    at, stop = result.out:find(interpreter, 1, true)
  end
  result.out = result.out:gsub("0x%x+", "ADDRESS")
  for line in result.err:gmatch "[^\n]*\n?" do
    line = line:gsub("^%S*" .. name:gsub("%p", "%%%0") .. ": ", "PROGRAM: ")
    line = line:gsub("^usage: %S+ ", "usage: PROGRAM ")
    if not line:find "^stack traceback:" and not line:find "^\t" and
      not line:find "^  in a coroutine" then
      lines[#lines + 1] = line
    end
  end
  return { out = result.out, err = table.concat(lines), code = result.code }
end

local function same(line, stdin)
  local want = plain(run(stock, line, stdin), stock)
  local got = plain(run(host, line, stdin), host)
  assert.same(want, got, line)
end

describe("the host #host", function()
  setup(function()
    local pipe <close> = assert(io.popen "mktemp -d")
    dir = pipe:read "l"
    if host:sub(1, 1) ~= "/" then host = os.getenv "PWD" .. "/" .. host end
  end)

  teardown(function() os.execute("rm -rf " .. quote(dir)) end)

  before_each(function()
    write("args.lua", [[
      local low = 0
      while arg[low - 1] do low = low - 1 end
      for i = low + 1, #arg do print(i, arg[i]) end
      print(select("#", ...), ...)
    ]])
    write("mod.lua", "print('mod', ...) return { name = 'mod' }")
  end)

  describe("behaves as lua:", function()
    local lines = {
      "$X -e 'print(1)'",
      "$X -e 'print(1)' -e 'print(2)'",
      "$X '-eprint(3)' args.lua",
      "$X -e 'x = 1' -e 'print(x)' - </dev/null",
      "$X -e",
      "$X -e -v",
      "$X -e ''",
      "$X -e 'x ='",
      "$X -e 'error(\"oops\")' -e 'print(2)'",
      "$X -e 'error(\"oops\", 0)'",
      "$X -l mod -e 'print(mod.name)'",
      "$X -lmod -e 'print(mod.name)'",
      "$X -l m=mod -e 'print(m.name, mod)'",
      "$X -lm=mod -e 'print(m.name, mod)'",
      "$X -l string -e 'print(string.len \"abc\")'",
      "$X -l",
      "$X -l -",
      "$X -l nothing_of_that_name",
      "$X -l g=nothing_of_that_name",
      "$X -e 'require = nil' -l mod",
      "$X -z",
      "$X -ex",
      "$X -Ex",
      "$X -vv",
      "$X -ix",
      "$X -Wx",
      "$X --help",
      "$X -e 'print(1)' -q",
      "$X -W -e 'warn \"shown\"'",
      "$X -e 'warn \"not shown\"'",
      "$X -e 'warn \"@on\" warn(\"in \", \"parts\")'",
      "$X -W -e 'warn \"@off\" warn \"not shown\"'",
      "$X -e 'print(1)' -W -e 'warn \"shown\"'",
      "$X args.lua",
      "$X args.lua a 'b c' ''",
      "$X -e 'local x = 1' -W args.lua -v -e",
      "$X -- args.lua 1",
      "$X -W -- args.lua 1",
      "$X -e 'print(arg[0], #arg, arg[-1])'",
      "$X -e 'arg = nil' args.lua",
      "$X -e 'arg = {\"mine\"}' args.lua",
      "$X -e 'arg = 1' mod.lua",
      "$X missing.lua",
      "$X .",
      "$X -- -",
      "$X -- missing.lua",
      "$X -e 'print(1)' missing.lua",
      "LUA_INIT='print(\"init\", ...)' $X args.lua 1",
      "LUA_INIT='print(1)' LUA_INIT_5_4='print(2)' $X -e 'print(3)'",
      "LUA_INIT=@args.lua $X -e 'print(3)'",
      "LUA_INIT=@missing.lua $X -e 'print(3)'",
      "LUA_INIT='x =' $X -e 'print(3)'",
      "LUA_INIT='error \"in init\"' $X -e 'print(3)'",
      "LUA_INIT='print(1)' $X -E -e 'print(3)'",
      "LUA_INIT= $X -e 'print(3)'",
      "LUA_PATH='/x/?.lua' LUA_CPATH='/y/?.so' $X -e 'print(package.path, package.cpath)'",
      "LUA_PATH_5_4='/x/?.lua;;' $X -e 'print(package.path, package.cpath)'",
      "LUA_PATH='/x/?.lua' LUA_CPATH='/y/?.so' $X -E -e 'print(package.path, package.cpath)'",
      "$X -e 'print(collectgarbage \"incremental\")'",
      "$X -e 'io.write(\"no newline\")'",
      "$X -e 'io.stdout:setvbuf \"full\" print(1) io.stderr:write \"err\\n\"'",
    }
    for _, line in ipairs(lines) do
      it(line, function() same(line) end)
    end
  end)

  describe("ends as lua:", function()
    local chunks = {
      "error('text')",
      "error('text', 0)",
      "error('text', 2)",
      "error()",
      "error(nil)",
      "error(12)",
      "error(true)",
      "error({})",
      "error(print)",
      "error(setmetatable({}, { __tostring = function() return 'object' end }))",
      "error(setmetatable({}, { __tostring = function() return 1 end }))",
      "error(setmetatable({}, { __name = 'My type' }))",
      "error('a\\nb')",
      "local x <close> = setmetatable({}, { __close = function() print 'closed' end }) error 'x'",
      "local function f() return f() + 1 end f()",
      "coroutine.wrap(function() error 'inside' end)()",
      "coroutine.wrap(function() error {} end)()",
      "coroutine.wrap(function() coroutine.yield() end)()",
      "coroutine.yield(1)",
      "print(pcall(coroutine.yield, 1))",
      "print(coroutine.isyieldable(), coroutine.running())" ..
        " local _, main = coroutine.running() assert(main)",
      "string.rep('x', -1 >>> 1)",
      "string.rep('x', 1 << 40)",
      "local t = setmetatable({}, { __index = function(_, k) error(k) end }) print(t.key)",
      "table.sort({ 3, 2, 1 }, function() error 'sort' end)",
      "('x'):gsub('x', function() error 'gsub' end)",
      "assert(false)",
      "assert(nil, 'message')",
      "assert(false, { 1 })",
      "local x = nil; x.y = 1",
      "print(select('#', xpcall(error, function(m) return m, 1 end, 'e')))",
      "require 'nothing_of_that_name'",
      "os.exit()",
      "os.exit(true)",
      "os.exit(false)",
      "os.exit(3)",
      "os.exit(3.0)",
      "os.exit('7')",
      "os.exit(300)",
      "os.exit(-1)",
      "os.exit(nil)",
      "os.exit(nil, true)",
      "os.exit('x')",
      "os.exit(1.5)",
      "os.exit({})",
      "coroutine.wrap(function() os.exit(5) end)()",
      "coroutine.wrap(function() os.exit(5, true) end)()",
      "pcall(os.exit, 6)",
      "io.write 'unflushed' os.exit(1)",
      "setmetatable({}, { __gc = function() print 'gc' end }) os.exit(2)",
      "setmetatable({}, { __gc = function() print 'gc' end }) os.exit(2, true)",
      "x = setmetatable({}, { __gc = function() print 'gc' end })",
      "x = setmetatable({}, { __gc = function() os.exit(9) end })",
      "x = setmetatable({}, { __gc = function() error 'in gc' end }) warn '@on'",
      "local x <close> = setmetatable({}, { __close = function() print 'closed' end }) os.exit(2)",
      "local x <close> = setmetatable({}, { __close = function() print 'closed' end })" ..
        " os.exit(2, true)",
      "return 5",
      "return false, 'x'",
      "local n = 0 for k in pairs(_G) do n = n + 1 end print(n)",
      "local l = {} for k in pairs(_G) do l[#l + 1] = k end table.sort(l)" ..
        " print(table.concat(l, ' '))",
      "for _, m in ipairs { 'os', 'coroutine', 'debug', 'package', 'table' } do" ..
        " local l = {} for k in pairs(_G[m]) do l[#l + 1] = k end table.sort(l)" ..
        " print(table.concat(l, ' ')) end",
      "package.preload.neap = nil print(#package.searchers, next(package.preload))",
      "print(debug.gethook())",
      "print(getmetatable('').__index == string, _VERSION)",
      "goto nowhere",
      "x = = 1",
      "#",
      "os.execute('kill -KILL $PPID')",
    }
    for _, chunk in ipairs(chunks) do
      it(chunk, function()
        write("chunk.lua", chunk)
        same "$X chunk.lua"
      end)
    end
  end)

  describe("reads scripts as lua:", function()
    it("from standard input", function()
      same("$X", "print('in', ...) print(arg[0], #arg)")
      same("$X -", "print('in', ...)")
      same("$X - a b", "print('in', ...) print(arg[0], arg[1])")
      same("$X -e 'print(1)'", "print 'not read'")
      same("$X -v >/dev/null", "print 'not read'")
      same("$X -", "error 'from stdin'")
      same("$X -", "x = ")
      -- Here lua would end with 0.
      assert.equal(1, neap("$X", "error 'from stdin'").code)
      same("$X", "")
      same("$X -", "#!/usr/bin/lua\nprint(1)")
    end)

    it("with a first line that begins with #", function()
      write("script", "#!/usr/bin/env something\nprint(1) error 'line 2'")
      same "$X script"
      write("script", "# only this")
      same "$X script"
      write("script", "\xEF\xBB\xBF#!x\nprint(2)")
      same "$X script"
    end)

    it("that are run directly", function()
      write("direct", "#!" .. host .. "\nprint(arg[0], ...)")
      local got = neap "chmod +x direct && ./direct a b"
      assert.same({ out = "./direct\ta\tb\n", err = "", code = 0 }, got)
    end)

    it("that are compiled", function()
      same "$X -e 'io.open(\"b\", \"wb\"):write(string.dump(load \"print(1, ...)\"))'; $X b 2"
    end)

    it("while reading what follows as data", function()
      same("$X -e 'print(io.read()) print(io.read(\"n\"))'", "line\n42\n")
    end)
  end)

  it("loads packaged C modules", function()
    local got = neap [[for m in lfs term.core lsystem system.core; do
      $X -e "print(pcall(require, '$m'))" | grep -c '^true'; done | grep -c 1]]
    assert.truthy(tonumber(got.out) >= 1, got.out .. got.err)
  end)

  it("writes its version", function()
    local got = neap "$X -v"
    assert.truthy(got.out:find "^neap %d+%.%d+%.%d+ %(Lua 5%.4%.%d+, libuv %d+%.%d+%.%d+%)\n$")
    assert.equal(0, got.code)
    assert.truthy(neap("$X -v -e 'print(1)'").out:find "^neap [^\n]+\n1\n$")
  end)

  describe("at the prompt", function()
    local function prompt(input, options)
      local got = neap("$X -i " .. (options or ""), input)
      got.out = got.out:gsub("^neap [^\n]*\n", "")
      return got
    end

    it("prints the values of expressions", function()
      local got = prompt "1 + 1\nnil, 'x'\n=3\nx = 5\nx\n"
      assert.same({ out = "> 2\n> nil\tx\n> 3\n> > 5\n> \n", err = "", code = 0 }, got)
    end)

    it("asks for more until a chunk is complete", function()
      local got = prompt "for i = 1, 2 do\nprint(i)\nend\n"
      assert.same({ out = "> >> >> 1\n2\n> \n", err = "", code = 0 }, got)
    end)

    it("uses _PROMPT and _PROMPT2", function()
      local got = prompt "_PROMPT, _PROMPT2 = '$ ', '+ '\nf(\n1)\n"
      assert.equal("> $ + $ \n", got.out)
    end)

    it("goes on after an error", function()
      local got = prompt "error 'first'\nx y\nprint 'second'\n"
      assert.equal("> > > second\n> \n", got.out)
      assert.truthy(got.err:find "^stdin:1: first\n")
      assert.truthy(got.err:find "stdin:1: syntax error near 'y'\n")
      assert.equal(0, got.code)
    end)

    it("reports a print that fails", function()
      local got = prompt "print = nil\n1\nprint = function() error 'no' end\n1\n"
      assert.truthy(got.err:find("error calling 'print' (attempt to call a nil value", 1, true))
      assert.truthy(got.err:find("error calling 'print' (stdin:1: no", 1, true), got.err)
    end)

    it("comes after the script, unless that failed", function()
      write("first.lua", "x = ...")
      assert.equal("> here\n> \n", prompt("x\n", "first.lua here").out)
      write("first.lua", "error 'no'")
      local got = prompt("print 'not run'\n", "first.lua")
      assert.equal("", got.out)
      assert.equal(1, got.code)
    end)

    it("awaits", function()
      local got = prompt "neap = require 'neap'\nneap.sleep(0.001, 'a', 'b')\n"
      assert.equal("> > a\tb\n> \n", got.out)
    end)
  end)

  describe("runs", function()
    local function script(text, options)
      write("script.lua", "local neap = require 'neap'\n" .. text)
      return neap("$X " .. (options or "") .. " script.lua")
    end

    it("what is pending when the main chunk is through", function()
      assert.same({ out = "main\ntask\nlater\n", err = "", code = 0 }, script [[
        neap.create_task(function() print 'task' neap.sleep(0.001) print 'later' end)
        print 'main'
      ]])
    end)

    it("what options left pending", function()
      local got = neap [[$X -e 'neap = require "neap"' -e 'neap.create_task(print, 1)' ]]
      assert.same({ out = "1\n", err = "", code = 0 }, got)
    end)

    it("awaits of the main chunk in place", function()
      assert.same({ out = "x\n", err = "", code = 0 }, script "print(neap.sleep(0.001, 'x'))")
    end)

    it("and ends with 1 when the error of a task was never looked at", function()
      local got = script "neap.create_task(function() error 'lost' end) print 'main'"
      assert.equal("main\n", got.out)
      assert.truthy(got.err:find "Task exception was never retrieved")
      assert.truthy(got.err:find "script.lua:2: lost")
      assert.equal(1, got.code)
    end)

    it("<close> handlers of tasks when the main chunk fails", function()
      local got = script [[
        neap.create_task(function()
          local _ <close> = setmetatable({}, { __close = function()
            neap.sleep(0.001)
            print 'closed'
          end })
          neap.sleep(60)
        end)
        neap.sleep(0)
        error 'main failed'
      ]]
      assert.equal("closed\n", got.out)
      assert.truthy(got.err:find "^neap: script.lua:10: main failed\n")
      assert.equal(1, got.code)
    end)

    it("the same for os.exit, whose code it keeps", function()
      for _, call in ipairs { "os.exit(7)", "os.exit(7, true)",
        "neap.create_task(os.exit, 7):await()",
        "neap.create_task(function() neap.sleep(0.001) os.exit(7) print 'not reached' end)",
        "neap.create_task(function() table.sort({1, 2, 3}, function() os.exit(7) end) end)",
        "neap.create_task(function() os.exit(7) end) neap.sleep(60)",
        "coroutine.wrap(function() os.exit(7) end)()",
        "neap.create_task(coroutine.wrap(function() os.exit(7) end))",
        "neap.get_event_loop():call_soon(os.exit, 7) neap.sleep(60)",
      } do
        local got = script([[
          neap.create_task(function()
            local _ <close> = setmetatable({}, { __close = function()
              neap.sleep(0.001)
              print 'closed'
            end })
            neap.sleep(60)
          end)
          neap.sleep(0)
        ]] .. call)
        assert.same({ out = "closed\n", err = "", code = 7 }, got, call)
      end
    end)

    it("os.exit(true) and os.exit(false) in a task", function()
      assert.equal(0, script("neap.create_task(os.exit, true)").code)
      assert.equal(1, script("neap.create_task(os.exit, false)").code)
    end)

    it("to an end, with a report, where nothing can wake a task", function()
      local got = script "neap.create_task(function() neap.Future():await() end)"
      assert.equal(1, got.code)
      assert.truthy(got.err:find "Task%-1", got.err)
    end)
  end)

  describe("is interrupted", function()
    --- The script sends itself what `signal` says and shows what came of it.
    local function script(text, prefix)
      write("script.lua", ([[
        local neap = require 'neap'
        -- Not os.execute: the C function system() ignores SIGINT while it waits.
        local function kill(signal) io.popen('kill -' .. signal .. ' $PPID'):close() end
        local function guard(name)
          return setmetatable({}, { __close = function() print(name) end })
        end
        %s
      ]]):format(text))
      return neap((prefix or "") .. " $X script.lua")
    end

    it("in its await", function()
      local got = script [[
        local _ <close> = guard 'main'
        neap.create_task(function() local _ <close> = guard 'task' neap.sleep(60) end)
        neap.create_task(function() neap.sleep(0.001) kill 'INT' end)
        neap.sleep(60)
      ]]
      assert.equal("main\ntask\n", got.out)
      assert.truthy(got.err:find "KeyboardInterrupt")
      assert.equal(130, got.code)
    end)

    it("while it sleeps, which no task but the main chunk notices", function()
      local got = script [[
        local sender = io.popen
          'until [ -e asleep ]; do sleep 0.01; done; sleep 0.1; kill -INT $PPID'
        local task = neap.create_task(function()
          local _ <close> = setmetatable({}, { __close = function(_, err)
            neap.sleep(0)
            print(err)
          end })
          io.open('asleep', 'w'):close()
          neap.sleep(60)
        end)
        local _, err = pcall(task.await, task)
        print(err, task:cancelled())
        sender:close()
      ]]
      assert.same({ out = "CancelledError\nKeyboardInterrupt\ttrue\n", err = "", code = 0 }, got)
    end)

    it("in busy code", function()
      local got = script [[
        local _ <close> = guard 'main'
        kill 'INT'
        while true do end
      ]]
      assert.equal("main\n", got.out)
      assert.truthy(got.err:find "KeyboardInterrupt")
      assert.equal(130, got.code)
    end)

    it("when only tasks are left", function()
      local got = script [[
        neap.create_task(function()
          local _ <close> = guard 'task'
          kill 'INT'
          neap.sleep(60)
        end)
      ]]
      assert.equal("task\n", got.out)
      assert.equal(130, got.code)
    end)

    it("and goes on where the script catches it", function()
      local got = script [[
        local ok, err = pcall(function() kill 'INT' neap.sleep(60) end)
        print(ok, err.name, neap.KeyboardInterrupt:is(err))
        print(neap.sleep(0.001, 'on'))
        os.exit(3)
      ]]
      assert.same({ out = "false\tKeyboardInterrupt\ttrue\non\n", err = "", code = 3 }, got)
    end)

    it("and goes on without os.exit too", function()
      local got = script [[
        pcall(function() kill 'INT' neap.sleep(60) end)
        neap.create_task(print, 'task')
      ]]
      assert.same({ out = "task\n", err = "", code = 0 }, got)
    end)

    it("by SIGTERM, without a report", function()
      local got = script [[
        local _ <close> = guard 'main'
        neap.create_task(function() local _ <close> = guard 'task' neap.sleep(60) end)
        neap.create_task(function() neap.sleep(0.001) kill 'TERM' end)
        neap.sleep(60)
      ]]
      assert.same({ out = "main\ntask\n", err = "", code = 143 }, got)
    end)

    it("by SIGTERM when only tasks are left", function()
      local got = script [[
        neap.create_task(function()
          local _ <close> = guard 'task'
          kill 'TERM'
          neap.sleep(60)
        end)
      ]]
      assert.same({ out = "task\n", err = "", code = 143 }, got)
    end)

    it("at once by a second signal", function()
      local got = script [[
        local _ <close> = setmetatable({}, { __close = function()
          kill 'INT'
          print 'not reached'
        end })
        kill 'INT'
        while true do end
      ]]
      assert.same({ out = "", code = 130 }, { out = got.out, code = got.code })
    end)

    it("not where its parent ignores the signal", function()
      local got = script("kill 'INT' neap.sleep(0.001) print 'on'", "trap '' INT;")
      assert.same({ out = "on\n", err = "", code = 0 }, got)
    end)
  end)
end)
