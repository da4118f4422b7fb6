--- Child processes: starting, waiting, signals, ending.

local neap = require "neap"
local process = require "neap.process"
local helper = require "spec.helper"

local function shell(script, options)
  options = options or {}
  options[1], options[2], options[3] = "sh", "-c", script
  return assert(process.spawn(options))
end

--- A child that has said that it is ready: what it needs before that is done.
local function ready(script, options)
  options = options or {}
  options.stdout = "pipe"
  local child = shell(script, options)
  assert.equal("ready", child.stdout:read "l")
  return child
end

describe("neap.process.spawn", function()
  it("starts a program and tells how it ended", function()
    local child <close> = shell "exit 3"
    assert.equal("integer", math.type(child.pid))
    assert.same({ 3, n = 1 }, table.pack(child:wait()))
    assert.equal(("<Process %d exited 3>"):format(child.pid), tostring(child))
  end)

  it("tells the signal that ended it, and then no code", function()
    local child <close> = shell "kill -9 $$"
    assert.same({ nil, "SIGKILL", n = 2 }, table.pack(child:wait()))
    assert.equal(("<Process %d ended by SIGKILL>"):format(child.pid), tostring(child))
  end)

  it("wakes everybody who waits, and answers at once afterwards", function()
    local child <close> = ready("echo ready; read line; exit 4", { stdin = "pipe" })
    local tasks = {}
    for i = 1, 3 do tasks[i] = neap.create_task(child.wait, child) end
    neap.sleep(0)
    child.stdin:write "\n"
    for _, task in ipairs(tasks) do assert.equal(4, task:await()) end
    assert.equal(4, child:wait())
    assert.is_false(child:is_running())
  end)

  it("gives nil and an error for what cannot be started", function()
    local child, err = process.spawn { "neap-has-no-such-program", "x" }
    assert.is_nil(child)
    assert.is_true(neap.OSError:is(err))
    assert.same({ "ENOENT", "spawn", "neap-has-no-such-program" }, { err.code, err.op, err.path })
    assert.matches("no such file or directory: 'neap%-has%-no%-such%-program'", err.message)
    child, err = process.spawn { "/etc/passwd" }
    assert.is_nil(child)
    assert.equal("EACCES", err.code)
    child, err = process.spawn { "true", cwd = "/no/such/directory" }
    assert.is_nil(child)
    assert.same({ "ENOENT", "/no/such/directory" }, { err.code, err.path })
    child, err = process.spawn { "true", stdout = 1000 }
    assert.is_nil(child)
    assert.equal("EBADF", err.code)
  end)
end)

describe("Process:close", function()
  it("ends it, and waits for that", function()
    local child
    do
      local closed <close> = ready "echo ready; sleep 100"
      child = closed
      assert.is_true(child:is_running())
    end
    assert.is_false(child:is_running())
    assert.same({ nil, "SIGTERM" }, { child:wait() })
    child:close()
  end)

  it("kills what does not mind SIGTERM", function()
    local child = ready("trap '' TERM; echo ready; while :; do sleep 0.01; done", { grace = 0.05 })
    child:close()
    assert.same({ nil, "SIGKILL" }, { child:wait() })
  end)
end)

describe("neap.process.run", function()
  it("gives what the program wrote, and how it ended", function()
    local result = assert(process.run { "sh", "-c", "echo out; echo err >&2; exit 5" })
    assert.same({ code = 5, stdout = "out\n", stderr = "err\n" }, result)
  end)

  it("writes and reads at once, however much", function()
    local text = ("0123456789abcdef"):rep(2 ^ 16)
    helper.in_task(function()
      local result = assert(process.run { "cat", input = text })
      assert.is_true(result.stdout == text)
    end)
  end)

  it("ends it when the time is over", function()
    local err = helper.catch(process.run, { "sleep", "100", timeout = 0.02 })
    assert.is_true(neap.TimeoutError:is(err))
  end)
end)
