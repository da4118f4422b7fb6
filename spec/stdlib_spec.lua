--- Small programs that know nothing of neap do under the host what they do under stock
--- Lua: the same output, messages, tracebacks and exit codes.

local host = os.getenv "NEAP_HOST" or arg[-1]
local stock = os.getenv "NEAP_LUA" or "lua5.4"

local dir

local function quote(text) return "'" .. text:gsub("'", "'\\''") .. "'" end

local function content(path)
  local file <close> = assert(io.open(path, "rb"))
  return file:read "a"
end

--- Runs the program, as a file or as the standard input, and gives all it left behind.
local function run(interpreter, program, as_input)
  do
    local file <close> = assert(io.open(dir .. "/program.lua", "wb"))
    file:write(program)
  end
  local line = ("cd %s && unset LUA_INIT LUA_INIT_5_4 LUA_PATH LUA_CPATH LUA_PATH_5_4 "
    .. "LUA_CPATH_5_4; echo 'line 1\n2 0x10 rest\nlast' | %s >out.txt 2>err.txt")
    :format(quote(dir), quote(interpreter) .. (as_input and " - <program.lua"
      or " program.lua one 'two words'"))
  local _, kind, code = os.execute(line)
  local name = interpreter:match "[^/]+$"
  local function plain(text)
    return (text:gsub("0x%x+", "ADDRESS"):gsub("builtin: %x+", "ADDRESS")
      :gsub("/tmp/lua_%w+", "TEMPORARY")
      :gsub("^[^\n]-" .. name:gsub("%p", "%%%0") .. ": ", "PROGRAM: "))
  end
  return {
    out = plain(content(dir .. "/out.txt")),
    err = plain(content(dir .. "/err.txt")),
    code = kind == "signal" and 128 + code or code,
  }
end

local function same(name, program)
  it(name, function()
    local want = run(stock, program)
    -- A program that does nothing would prove nothing.
    assert.is_true(want.out ~= "" or want.err ~= "" or want.code ~= 0)
    assert.same(want, run(host, program))
  end)
end

--- For errors whose traceback neap shows in its own way.
local function same_message(name, program)
  it(name, function()
    local want, got = run(stock, program), run(host, program)
    want.err, got.err = want.err:match "^[^\n]*", got.err:match "^[^\n]*"
    assert.same(want, got)
  end)
end

describe("as under stock Lua #host:", function()
  setup(function()
    local pipe <close> = assert(io.popen "mktemp -d")
    dir = pipe:read "l"
    if host:sub(1, 1) ~= "/" then host = os.getenv "PWD" .. "/" .. host end
  end)
  teardown(function() os.execute("rm -rf " .. quote(dir)) end)

  -- How a script ends.
  same("an error with a traceback", [[
    local function inner(t) return t.a.b end
    local function outer() inner {} return 1 end
    outer()]])
  same("an error without a position", "error('plain', 0)")
  same("an error of level 2", [[
    local function check() error("bad", 2) end
    check()]])
  same_message("an error that is nil", "error()")
  same("an error that is a number", "error(12)")
  same("errors and assertions of every kind", [[
    print(pcall(error))
    print(pcall(error, nil, 2))
    print(pcall(error, "x", 1))
    print(pcall(error, "x", 2))
    print(pcall(error, "x", "two"))
    local function at(level) error("at", level) end
    print(pcall(at), pcall(at, 0), pcall(at, 1), pcall(at, 2), pcall(at, "2"), pcall(at, 99))
    print(pcall(assert))
    print(pcall(assert, false))
    print(pcall(assert, nil, nil))
    print(pcall(assert, false, 12))
    print(pcall(assert, 1, 2, 3))
    print(select("#", assert(1, nil, nil)))
    print(pcall(function() assert(false, "message") end))
    print(pcall(function() assert(nil) end))
    print(pcall(function() assert() end))
    print(select(2, pcall(assert, false, { 1 }))[1])
    print(xpcall(function() assert(false) end, debug.traceback))
  ]])
  same_message("an assertion", "assert(false)")
  same("an error that is a table", "error {}")
  same_message("an error object with __tostring", [[
    error(setmetatable({}, { __tostring = function() return "told" end }))]])
  same_message("an error in a coroutine, through wrap", [[
    local f = coroutine.wrap(function() local x = nil; x() end)
    f()]])
  same("a runtime error names its variable", [[
    for _, f in ipairs {
      function() return undefined_global.x end,
      function() local t = {} return t.a.b.c end,
      function() return ("x") + 1 end,
      function() return {} .. "x" end,
      function() return 1 < "2" end,
      function() return {} < {} end,
      function() return #5 end,
      function() return -{} end,
      function() return 1 // 0 end,
      function() return 1 % 0 end,
      function() return 1 & 1.5 end,
      function() return 2^53 | "a" end,
      function() return math.tointeger(2^63) << 1 end,
      function() local a <const> = nil; a.b = 1 end,
      function() for i = 1, 10, 0 do end end,
      function() for i = "a", 2 do end end,
      function() string.rep() end,
      function() ("x"):rep(1e10) end,
      function() ("x"):bad() end,
      function() setmetatable(1, {}) end,
      function() local t = setmetatable({}, { __metatable = 1 }) setmetatable(t, {}) end,
      function() return table.concat { 1, {}, 3 } end,
      function() return select(0) end,
      function() return tostring() end,
      function() return ipairs() end,
      function() return next({}, "none") end,
      function() return math.random(0, -1) end,
      function() return string.format("%d", 1.5) end,
      function() return utf8.char(-1) end,
      function() local x <close> = 1 end,
    } do print(pcall(f)) end]])
  same("syntax errors of a script", "local x = = 1")
  same("os.exit(true)", "io.write 'x' os.exit(true)")
  same("os.exit(false)", "io.write 'x' os.exit(false)")
  same("os.exit(7)", "io.write 'x' os.exit(7)")
  same("os.exit(3, true) closes what is open", [[
    local held <close> = setmetatable({}, { __close = function() print "closed" end })
    setmetatable({}, { __gc = function() print "collected" end })
    os.exit(3, true)]])
  same("os.exit in a coroutine", [[
    coroutine.wrap(function() pcall(function() os.exit(4) end) end)()]])
  same("os.exit with a bad argument", "os.exit 'x'")
  same("finalizers run at the end", [[
    for i = 1, 3 do
      setmetatable({}, { __gc = function() print("collected", i) end })
    end]])
  same("an error in a finalizer is a warning", [[
    warn "@on"
    setmetatable({}, { __gc = function() error "in gc" end })
    collectgarbage()
    print "on"]])
  same("warn", "warn('not ', 'shown') warn '@on' warn('sho', 'wn') warn '@off' warn 'x'")
  same("results of a script are dropped", "print 'x' return 1, 2, 3")
  same("an exit code is only from os.exit", "print 'x' return 5")
  same("arguments", "print(#arg, arg[0], ..., select('#', ...))")
  same("a first line with #", "#!/usr/bin/env lua\nprint 'x' error 'line 2'")

  -- Chunks.
  same("load and its messages", [=[
    print(load "return 1 +")
    print(load("x =", "=name"))
    print(load("x =", "@file.lua"))
    print(load("x =\n\n", "x =\n\n"))
    print(load(function() return nil end))
    print(pcall(load, nil))
    print(load("return ...", "n", "b"))
    print(load("\27Lua", "n", "t"))
    print(load("return x", "n", "t", { x = 5 })())
    local parts = { "return ", "1", "+", "2" }
    print(load(function() return table.remove(parts, 1) end)())
    print(pcall(load, function() error "in the reader" end))
    print(load(string.dump(function(a) return a * 2 end))(21))
    print(pcall(dofile, "/nonexistent.lua"))
    print(loadfile "/nonexistent.lua")
    print(load "goto nowhere")
    print(load "break")
    print(load "::a:: ::a::")
    print(load "local x <const> = 1; x = 2")
    print(load "for i = 1 do end")
    print(load "x = 'unfinished")
    print(load "x = [[unfinished")
    print(load "return '\\q'")
    print(load "return 0x")
    print(pcall(load, ("("):rep(300) .. "1" .. (")"):rep(300)))]=])
  same("goto, integer loops, varargs, closures", [[
    for i = 1, 3 do
      for j = 1, 3 do
        if j == 2 then goto continue end
        io.write(i, ":", j, " ")
        ::continue::
      end
    end
    for i = math.maxinteger - 1, math.maxinteger do io.write(i, " ") end
    local function f(...) return select("#", ...), ... end
    print(f(nil, nil), (f(1, 2, 3)))
    local fs = {}
    for i = 1, 3 do fs[i] = function() i = i + 1 return i end end
    print(fs[1](), fs[1](), fs[2]())]])

  -- Limits.
  same("stack overflow", [[
    local function f() return 1 + f() end
    local ok, err = pcall(f)
    print(ok, err)
    print(xpcall(f, function(e) return #e > 0 end))]])
  same("an error in the error handling", [[
    print(xpcall(error, function(e) error(e) end, "x"))
    print(xpcall(error, error, "x"))
    local function loop() return 1 + loop() end
    print(xpcall(loop, loop))
    print(select("#", xpcall(error, function() return 1, 2 end)))]])
  same("C stack overflow", [[
    local n = 0
    local function f() n = n + 1 return (string.gsub("a", "a", f)) end
    print(pcall(f)) print(n)
    n = 0
    local function g() n = n + 1 coroutine.wrap(g)() end
    print(select("#", pcall(g)), n)
    n = 0
    local function h() n = n + 1 local ok, e = pcall(h) if not ok then error(e, 0) end end
    print(pcall(h)) print(n)
    n = 0
    local function r()
      n = n + 1
      local ok, e = coroutine.resume(coroutine.create(r))
      if not ok then error(e, 0) end
    end
    print(pcall(r)) print(n)
    n = 0
    local t = setmetatable({}, {})
    getmetatable(t).__index = function(_, k) n = n + 1 return t[k + 1] end
    print(pcall(function() return t[1] end)) print(n)]])
  same("memory errors", [[
    print(pcall(string.rep, "x", 1 << 50))
    print(pcall(table.concat, setmetatable({}, { __len = function() return 1 << 40 end })))
    print(pcall(string.rep, "x", -1))]])
  same("deep recursion without calls", [[
    local function loop(n) if n == 0 then return "end" end return loop(n - 1) end
    print(loop(1000000))
    local t = {}
    for _ = 1, 200000 do t = { t } end
    print(type(t))]])

  -- What neap has its own versions of.
  same("messages of coroutine functions, pcall, xpcall, require", [[
    local values = { nil, 0, "s", {}, print, coroutine.create(print), true, 1.5 }
    local fs = { pcall = pcall, xpcall = xpcall, require = require }
    local names = { "pcall", "xpcall", "require" }
    for name, f in pairs(coroutine) do
      names[#names + 1] = "coroutine." .. name
      fs["coroutine." .. name] = f
    end
    table.sort(names)
    for _, name in ipairs(names) do
      local f = fs[name]
      print(name, pcall(f))
      for i = 1, 8 do
        for j = 1, 8 do
          local a, b = values[i], values[j]
          if a ~= "s" or name ~= "require" or j == 1 then
            print(name, i, j, pcall(f, a, b))
            print(name, i, j, pcall(function() local x = f(a, b) return x end))
            print(name, i, j, pcall(coroutine.wrap(f), a, b))
          end
        end
      end
    end]])
  same("tracebacks through coroutines and pcall", [[
    local function deep() print(debug.traceback "deep") coroutine.yield() end
    local co = coroutine.create(function() pcall(deep) end)
    coroutine.resume(co)
    print(debug.traceback(co))
    print(debug.traceback(co, nil, 1))
    print(debug.traceback("message", 1))
    print(xpcall(function() local x = nil + 1 end, debug.traceback))
    print(pcall(coroutine.wrap(function() error "in a wrap" end)))
    print(xpcall(coroutine.wrap(function() error({}) end), type))]])
  same("debug.getinfo of the replaced functions", [[
    for _, f in ipairs { pcall, xpcall, require, coroutine.resume, coroutine.wrap } do
      local i = debug.getinfo(f)
      print(i.what, i.short_src, i.currentline, i.linedefined)
    end
    coroutine.wrap(function()
      for level = 0, 3 do
        local i = debug.getinfo(level)
        print(i and i.what, i and i.name, i and i.namewhat)
      end
    end)()
    local t = {}
    for name in pairs(coroutine) do t[#t + 1] = name end
    table.sort(t)
    print(table.concat(t, " "))
    print(package.loaded.coroutine == coroutine, package.loaded._G == _G)]])
  same("hooks", [[
    local n, lines = 0, {}
    debug.sethook(function(event, line) lines[#lines + 1] = event .. (line or "") end, "crl")
    local co = coroutine.wrap(function() coroutine.yield(1) end)
    co()
    pcall(error)
    debug.sethook()
    print(table.concat(lines, " "))
    debug.sethook(function() n = n + 1 end, "", 100)
    for _ = 1, 10000 do end
    debug.sethook()
    print(n > 50)]])
  same("to-be-closed variables", [[
    local function new(name)
      return setmetatable({}, { __close = function(_, e) print("close", name, e) end })
    end
    print(pcall(function()
      local a <close> = new "a"
      local b <close> = new "b"
      local c <const> = 1
      for _ in pairs({}), nil, nil, new "for" do end
      error("x", 0)
    end))
    local co = coroutine.wrap(function()
      local a <close> = new "in a coroutine"
      coroutine.yield(1)
      return 2
    end)
    print(co(), co())
    print(pcall(function() local bad <close> = {} end))
    local last <close> = new "at the end of the script"]])
  same("require", [[
    package.path = "./?.none"
    package.cpath = "./?.none.so"
    print(pcall(require, "not.there"))
    package.preload.mine = function(...) print(...) return nil end
    print(require "mine", require "mine")
    package.preload.fails = function() error "while loading" end
    print(pcall(require, "fails"))
    print(package.loaded.fails)
    local n = 0
    package.preload.ring = function()
      n = n + 1
      if n < 5 then return require "ring" end
      return n
    end
    print(require "ring")
    print(require "ring")
    package.searchers[#package.searchers + 1] = function(name)
      return "\n\tsearched for " .. name
    end
    print(pcall(require, "other"))
    package.searchers = nil
    print(pcall(require, "more"))]])

  -- The libraries that neap leaves alone.
  same("io", [[
    print(io.read "l") print(io.read("n", "n", "l")) print(io.read "L") print(io.read "a")
    print(io.read "l", io.read(0))
    print(io.open("/nonexistent/file", "w"))
    print(pcall(io.open, "x", "bad"))
    print(pcall(io.lines, "/nonexistent"))
    local name = os.tmpname()
    local f = assert(io.open(name, "w"))
    print(f:write("a\n", 1, " ", 2.5, "\n"), f:seek "cur", f:close(), io.type(f))
    print(pcall(f.write, f, "x"))
    for a, b in io.lines(name, 1, "l") do print(a, b) end
    print(os.remove(name), os.remove(name))
    local p = io.popen("echo out; exit 3")
    print(p:read "a", p:close())
    print(os.execute "exit 5")
    io.stderr:write "to stderr\n"
    io.stdout:setvbuf "no"
    print(pcall(io.read, "bad format"))]])
  same("strings, numbers, tables, os", [[
    print(("%5.2f|%-5s|%q|%x|%i|%g"):format(1.005, "ab", "a\n\0b", 255, 3.0, 1e100))
    print(("hello world"):gsub("o", { o = "0" }), ("abc"):gsub("%w", "%0%0", 2))
    print(pcall(string.gsub, "x", "(", "")) print(pcall(string.gsub, "x", "x", "%2"))
    print(("key = value"):match "^(%w+)%s*=%s*(%w+)$", ("x"):byte(-1), #("\u{10FFFF}"))
    for w, p in ("a1 b2"):gmatch "(%a)(%d)" do io.write(w, p, ";") end
    print(string.pack("<i4z", 7, "x"):byte(1, -1))
    print(1e15, 2^53, 10 // 3, -7 // 2, -7 % 3, 7 // 0.0, 0/0 ~= 0/0, 3 | 4, "10" + 5)
    print(math.maxinteger + 1 == math.mininteger, math.type(1), math.type(1.0), 1 == 1.0)
    print(tostring(1e300 * 1e10), tostring(-0.0), tonumber "0x1p4", tonumber("zz", 36))
    local t = { 5, 2, 8, 1 }
    table.sort(t, function(a, b) return a > b end)
    print(table.concat(t, ","), table.unpack({ 1, 2, 3 }, 2), #table.pack(nil, nil))
    print(pcall(table.sort, { 3, 1, 2, 5, 4 }, function() return true end))
    print(pcall(table.insert, {}, 5, 1)) print(table.remove {}, next {})
    print(os.date("!%Y-%m-%d", 0), os.time { year = 2000, month = 1, day = 1, hour = 12 })
    print(os.getenv "NOT_SET_AT_ALL", type(os.clock()), pcall(os.date, "%Ez"))
    print(utf8.len "\xff", utf8.codepoint("é", 1), #utf8.charpattern)
    print(rawlen { 1 }, rawequal("a", "a"), rawget(setmetatable({}, { __index = _G }), "x"))
    print(collectgarbage "count" > 0, collectgarbage "isrunning",
      collectgarbage "incremental", collectgarbage "generational")
    print(_VERSION, math.pi, #package.config)]])
  same("the table sort of a yielding comparison", [[
    print(pcall(coroutine.wrap(function()
      table.sort({ 1, 2, 3 }, coroutine.yield)
    end)))
    print(pcall(coroutine.wrap(function()
      return ("x"):gsub("x", coroutine.yield)
    end)))
    print(coroutine.isyieldable(), pcall(coroutine.yield, 1))
    print(coroutine.resume(coroutine.create(function()
      return load(coroutine.yield)
    end)))]])

  it("a program from standard input", function()
    for _, program in ipairs {
      "print(...) print(arg[0], #arg)", "error 'x'", "local x = = 1", "os.exit(9)",
    } do
      assert.same(run(stock, program, true), run(host, program, true))
    end
  end)
end)
