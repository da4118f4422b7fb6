--- Debug mode: calls of Lua's own library that block, inside tasks and callbacks.

local helper = require "spec.helper"

--- Runs the script in a host of its own, in debug mode unless opts says something else.
--- Gives the lines that it wrote to stderr, and what it wrote to stdout.
local function run(script, opts)
  local result = helper.run(script, opts or { env = "NEAP_DEBUG=1" })
  assert.equal(0, result.code, result.err)
  local lines = {}
  for line in result.err:gmatch "[^\n]+" do
    if line:find "may hold" then lines[#lines + 1] = line:match "^neap: warning: (.*)$" end
  end
  return lines, result.out
end

--- The same, with three lines to be read from a pipe; all that was written.
local function fed(script)
  -- helper.run gives /dev/null to what it starts, so the script starts a host of its own.
  local result = helper.run(([[
local pipe = assert(io.popen("printf 'one\\ntwo\\nthree\\n' | NEAP_DEBUG=1 '" .. arg[-1]
  .. "' inner.lua 2>&1"))
io.write(pipe:read "a")
assert(pipe:close())]]), { files = { ["inner.lua"] = script } })
  assert.equal(0, result.code, result.err)
  return result.out
end

describe("Debug mode tells of", function()
  it("os.execute, once for each place", function()
    assert.same({
      "os.execute may hold the event loop at main.lua:2 in Task-1: use neap.process.run instead",
      "os.execute may hold the event loop at main.lua:3 in Task-1: use neap.process.run instead",
    }, (run [[
require("neap").run(function()
  for _ = 1, 3 do assert(os.execute "true") end
  assert(os.execute "true")
end)]]))
  end)

  it("io.popen and reading from it", function()
    local lines, out = run [[
require("neap").run(function()
  local pipe = io.popen "echo a; echo b; echo c"
  print(pipe:read())
  for line in pipe:lines() do print(line) end
  pipe:close()
end)]]
    assert.equal("a\nb\nc\n", out)
    assert.equal(3, #lines)
    assert.matches("^io.popen .* at main.lua:2 .* use neap.process.run or neap.process.spawn "
      .. "instead$", lines[1])
    assert.matches("^file:read .* at main.lua:3 .* use a stream of neap.process or neap.net "
      .. "instead$", lines[2])
    assert.matches("^file:lines .* at main.lua:4 ", lines[3])
  end)

  it("reading from a standard input that is a pipe", function()
    local out = fed [[
require("neap").run(function()
  print(io.read())
  print(io.stdin:read())
  for line in io.lines() do print(line) end
end)]]
    assert.matches("\none\n", "\n" .. out)
    assert.matches("\ntwo\n", "\n" .. out)
    assert.matches("\nthree\n", "\n" .. out)
    assert.matches("io.read may hold the event loop at inner.lua:2 in Task%-1: use "
      .. "neap.tty.stdin instead\n", out)
    assert.matches("file:read may hold .* inner.lua:3 .* neap.tty.stdin instead\n", out)
    assert.matches("io.lines may hold .* inner.lua:4 .* neap.tty.stdin instead\n", out)
  end)

  it("callbacks", function()
    local lines = run [[
local neap = require "neap"
neap.get_event_loop():call_soon(os.execute, "true")
neap.get_event_loop():call_soon(function() os.execute "true" end)
neap.sleep(0)]]
    assert.equal(2, #lines)
    assert.matches(" in a callback: ", lines[1])
    assert.matches(" at main.lua:3 in a callback: ", lines[2])
  end)

  it("what is called after loop:set_debug(true)", function()
    local lines = run([[
local neap = require "neap"
local loop = neap.get_event_loop()
local function command() os.execute "true" end
loop:run_until_complete(command)
loop:set_debug(true)
loop:run_until_complete(command)
loop:set_debug(false)
loop:run_until_complete(function() os.execute "true" end)]], {})
    assert.equal(1, #lines)
    assert.matches("main.lua:3", lines[1])
  end)
end)

describe("Debug mode does not tell of", function()
  it("the main chunk", function()
    assert.same({}, (run [[
require "neap"
assert(os.execute "true")
io.popen("true"):close()
io.read()]]))
  end)

  it("files of the disk, /dev/null and what cannot wait", function()
    assert.same({}, (run [[
require("neap").run(function()
  local file = io.open "main.lua"
  file:read()
  for _ in file:lines() do end
  for _ in io.lines "main.lua" do end
  assert(io.read() == nil)
  assert(os.execute())
end)]]))
  end)

  it("anything while it is off, and then Lua's functions are in place", function()
    local lines, out = run([[
local own = { os.execute, io.popen, io.read, io.lines, io.stdout.read, io.stdout.lines }
local neap = require "neap"
neap.run(function() os.execute "true" end)
local now = { os.execute, io.popen, io.read, io.lines, io.stdout.read, io.stdout.lines }
for i, f in ipairs(own) do assert(now[i] == f) end
print "same"]], {})
    assert.same({}, lines)
    assert.equal("same\n", out)
  end)
end)

describe("Debug mode changes nothing", function()
  it("about results and errors", function()
    local script = [[
local neap = require "neap"
neap.run(function()
  print(pcall(io.read, "k"))
  print(pcall(function() return io.stdin:read "k" end))
  print(pcall(function() io.stdin.read() end))
  print(pcall(io.lines, "/no/such/file"))
  print(io.popen("exit 3"):close())
  print(os.execute "exit 4")
  print(pcall(os.execute, {}))
  print(pcall(io.popen, "true", "x"))
end)]]
    local _, off = run(script, {})
    local _, on = run(script)
    assert.equal(off, on)
  end)

  it("about functions that a program has put there", function()
    local _, out = run([[
local mine = function() return "mine" end
os.execute = mine
local neap = require "neap"
neap.get_event_loop():set_debug(true)
assert(os.execute == mine)
neap.get_event_loop():set_debug(true)
print(os.execute())]], {})
    assert.equal("mine\n", out)
  end)
end)
