--- os.exit and SIGTERM end the program also where a pcall of the main chunk catches
--- what they raise there.

local host = os.getenv "NEAP_HOST" or arg[-1]

local SCRIPT = [[
local neap = require "neap"
local function guard(name)
  return setmetatable({}, { __close = function()
    neap.sleep(0.001)
    io.write(name, " closed\n")
  end })
end
neap.create_task(function()
  local _ <close> = guard "task"
  neap.sleep(100)
end)
neap.create_task(function()
  neap.sleep(0.001)
  END
end)
local main <close> = guard "main"
]]

--- Runs the script with `ending` in a task and `main` after it: output, exit code.
local function run(ending, main)
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "w"))
  file:write((SCRIPT:gsub("END", ending)), main)
  file:flush()
  local line = "timeout -s KILL 50 '%s' %s 2>&1; echo code=$?"
  local pipe = assert(io.popen(line:format(host, path)))
  local out = pipe:read "a"
  pipe:close()
  os.remove(path)
  return out
end

local TERM = [[io.popen("kill -TERM $PPID"):close()]]

describe("ending the program #host", function()
  it("by os.exit in a task unwinds the main chunk and the tasks", function()
    assert.equal("main closed\ntask closed\ncode=5\n", run("os.exit(5)", "neap.sleep(100)"))
  end)

  it("by os.exit(true) and os.exit(false) has Lua's codes", function()
    assert.truthy(run("os.exit(true)", "neap.sleep(100)"):find "code=0")
    assert.truthy(run("os.exit(false)", "neap.sleep(100)"):find "code=1")
  end)

  it("is put off by a pcall only until the next wait", function()
    assert.equal("false SystemExit\nmain closed\ntask closed\ncode=5\n", run("os.exit(5)", [[
      while true do
        local ok, err = pcall(neap.sleep, 100)
        io.write(tostring(ok), " ", tostring(err), "\n")
        io.flush()
      end]]))
  end)

  it("is put off by a pcall until the main chunk ends", function()
    assert.equal("ended\ntask closed\ncode=6\n", run("os.exit(6)", [[
      pcall(neap.sleep, 100)
      io.write "ended\n"
      getmetatable(main).__close = function() end]]))
  end)

  it("does not wait for a task that swallows every cancellation", function()
    local start = os.time()
    local out = run("while true do pcall(neap.sleep, 0) end", "neap.sleep(0.01) os.exit(8)")
    assert.truthy(out:find "code=8")
    assert.truthy(out:find "Task was destroyed but it is pending!")
    assert.is_true(os.time() - start < 10, "the grace period of 10 s")
  end)

  it("by SIGTERM ends with 143, caught or not", function()
    assert.equal("main closed\ntask closed\ncode=143\n", run(TERM, "neap.sleep(100)"))
    assert.equal("main closed\ntask closed\ncode=143\n",
      run(TERM, "while true do pcall(neap.sleep, 100) end"))
  end)

  it("by os.exit at top level with true closes the main chunk first", function()
    assert.equal("main closed\ntask closed\ncode=7\n",
      run("", "neap.sleep(0.01) os.exit(7, true)"))
  end)
end)
