--- Child processes and event loops: nothing is left of them.

local neap = require "neap"
local process = require "neap.process"
local test = require "neap.test"
local helper = require "spec.helper"
local children = require "spec.support.children"

local shell, ready, exists = children.shell, children.ready, children.exists

--- Runs the function in a loop of its own.
local function run(fn) return neap.run(fn) end

describe("The end of a loop", function()
  it("ends the processes that were left running", function()
    local pids = {}
    run(function()
      for i = 1, 5 do pids[i] = ready("echo ready; exec sleep 100").pid end
      collectgarbage()
    end)
    for _, pid in ipairs(pids) do assert.is_false(exists(pid)) end
  end)

  it("kills those that do not mind SIGTERM, after their grace", function()
    local first, second
    run(function()
      first = ready("trap '' TERM; echo ready; while :; do sleep 0.01; done", { grace = 0.03 })
      -- In stock Lua it has no more than a second: it is to need no other programs.
      second = ready("trap 'exit 6' TERM; echo ready; while :; do read line; done",
        { stdin = "pipe", grace = 60 })
    end)
    assert.same({ nil, "SIGKILL" }, { first:wait() })
    assert.equal(6, second:wait())
    assert.is_false(exists(first.pid))
    first:close()
  end)

  it("ends groups", function()
    local pid
    run(function()
      local child = ready("sleep 100 >&2 & echo ready; echo $!; wait", { group = true })
      pid = child.stdout:read "n"
    end)
    children.gone(pid)
  end)

  it("ends the process of a task that will not end", function()
    local pid
    local loop = neap.new_event_loop()
    loop:set_exception_handler(function() end)
    loop:run_until_complete(function()
      neap.create_task(function()
        local child <close> = ready "echo ready; exec sleep 100"
        pid = child.pid
        neap.Future():await()
      end)
      while not pid do neap.sleep(0.001) end
    end)
    loop:close()
    assert.is_false(exists(pid))
  end)

  it("may come while close waits", function()
    local pid
    local loop = neap.new_event_loop()
    loop:set_exception_handler(function() end)
    loop:run_until_complete(function()
      local child = ready("trap '' TERM; echo ready; while :; do sleep 0.01; done",
        { grace = 0.05 })
      pid = child.pid
      helper.start(child.close, child)
      helper.start(child.wait, child)
    end)
    loop:close()
    assert.is_false(exists(pid))
  end)

  it("leaves detached processes alone, and they are reaped later", function()
    local child
    run(function() child = ready("echo ready; exec sleep 100", { detached = true }) end)
    assert.is_true(exists(child.pid))
    assert.is_false(child:is_running())
    local done, err = child:wait()
    assert.is_nil(done)
    assert.equal("ESRCH", err.code)
    assert.is_nil((child:kill()))
    assert.equal(("<Process %d lost>"):format(child.pid), tostring(child))
    child:close()
    os.execute("kill " .. child.pid)
    children.gone(child.pid)
    process.run { "true" }
    assert.is_false(exists(child.pid))
  end)

  it("is not put off by processes that nobody waits for", function()
    local result = helper.run [[
local process = require "neap.process"
local child = assert(process.spawn { "sleep", "100" })
print(child.pid)]]
    assert.equal(0, result.code)
    assert.is_false(exists(tonumber(result.out)))
  end)

  it("comes after an error as well", function()
    local result = helper.run [[
local process = require "neap.process"
local child = assert(process.spawn { "sleep", "100" })
print(child.pid)
error "oh"]]
    assert.equal(1, result.code)
    assert.is_false(exists(tonumber(result.out)))
  end)
end)

describe("A process", function()
  it("that nobody holds any more runs to its end, and is reaped", function()
    local file <close> = io.tmpfile()
    local pid = shell("sleep 0.02; echo done", { stdout = file }).pid
    collectgarbage()
    collectgarbage()
    assert.is_true(exists(pid))
    while exists(pid) do neap.sleep(0.002) end
    file:seek "set"
    assert.equal("done\n", file:read "a")
  end)

  it("loses its streams with the last who holds them", function()
    local pid = shell("cat", { stdin = "pipe", stdout = "pipe" }).pid
    for _ = 1, 3 do
      collectgarbage()
      neap.sleep(0)
    end
    while exists(pid) do neap.sleep(0.002) end
  end)

  it("keeps those that are held", function()
    local output = shell("echo text", { stdout = "pipe" }).stdout
    collectgarbage()
    assert.equal("text", output:read())
    output:close()
    while next(children.list()) do neap.sleep(0.001) end
  end)

  it("belongs to the loop that it was started in", function()
    local child <close> = ready "echo ready; exec sleep 100"
    run(function()
      assert.matches("it belongs to another event loop", helper.catch(child.wait, child))
      assert.matches("it belongs to another event loop", helper.catch(child.close, child))
    end)
    assert.same({ nil, "SIGTERM" }, { child:wait() })
  end)

  it("may be used anywhere once it has ended", function()
    local child = shell "exit 3"
    child:wait()
    run(function()
      assert.equal(3, child:wait())
      child:close()
    end)
  end)

  it("does not disturb children of others", function()
    local pipe = io.popen "sleep 0.01; exit 3"
    for _ = 1, 5 do process.run { "true" } end
    assert.same({ nil, "exit", 3 }, { pipe:close() })
    local _, how, code = os.execute "exit 4"
    assert.same({ "exit", 4 }, { how, code })
  end)

  it("does not disturb a handler of SIGCHLD", function()
    local loop, n = neap.get_event_loop(), 0
    loop:add_signal_handler("SIGCHLD", function() n = n + 1 end)
    assert.equal(0, process.run({ "true" }).code)
    while n == 0 do neap.sleep(0.001) end
    loop:remove_signal_handler "SIGCHLD"
    assert.equal(0, process.run({ "true" }).code)
  end)
end)

describe("Cancelled at any wait", function()
  it("a block that runs a process leaves nothing of it", function()
    local before = children.descriptors()
    local pids = {}
    local waits = test.cancel_sweep(function()
      local child <close> = shell("cat; exec sleep 100", { stdin = "pipe",
        stdout = "pipe" })
      pids[#pids + 1] = child.pid
      child.stdin:write(("x"):rep(1000))
      assert.equal("xxx", child.stdout:read(3))
      child.stdin:shutdown()
      child.stdout:read(997)
      child:kill "SIGKILL"
      assert.same({ nil, "SIGKILL" }, { child:wait() })
    end)
    assert.is_true(waits >= 3)
    for _, pid in ipairs(pids) do assert.is_false(exists(pid)) end
    assert.equal(before, children.descriptors())
  end)

  it("close ends the process", function()
    local pids = {}
    test.cancel_sweep(function()
      local child = shell "exec sleep 100"
      pids[#pids + 1] = child.pid
      child:close()
    end)
    for _, pid in ipairs(pids) do assert.is_false(exists(pid)) end
  end)
end)

describe("Descriptors", function()
  it("are not used up by many processes, one after the other", function()
    process.run { "true" }
    local before = children.descriptors()
    local slow = os.getenv "SEED" or helper.host:find "asan" -- a fork takes 10 ms there
    for i = 1, slow and 50 or helper.many(120) do
      local child <close> = assert(process.spawn { i % 10 == 0 and "neap-no-such" or "true",
        stdin = "pipe", stdout = "pipe", stderr = "pipe" } or process.spawn { "true" })
      assert.equal(0, child:wait())
    end
    assert.equal(before, children.descriptors())
    assert.same({}, children.list())
  end)

  it("that run out are an error of spawn, and nothing is left", function()
    local result = helper.run([[
local process = require "neap.process"
local children = require "spec.support.children"
local neap = require "neap"
process.run { "true" }
local before = children.descriptors()
local files = {}
while true do
  local file = io.open "/dev/null"
  if not file then break end
  files[#files + 1] = file
end
for left = 1, 9 do
  table.remove(files):close()
  local child, err = process.spawn { "true", stdin = "pipe", stdout = "pipe", stderr = "pipe" }
  if child then
    assert(left > 3)
    child:close()
  else
    assert(err.code == "EMFILE", err)
  end
end
for _, file in ipairs(files) do file:close() end
children.settle()
assert(children.descriptors() == before, children.descriptors() .. " " .. before)
assert(next(children.list()) == nil)
assert(process.run { "true" }.code == 0)
print "fine"]], { env = ("ulimit -n 64; LUA_PATH='%s/?.lua;;'"):format(os.getenv "PWD") })
    assert.same({ "", "fine\n" }, { result.err, result.out })
  end)
end)
