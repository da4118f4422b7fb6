--- Child processes: starting, waiting, signals, ending.

local neap = require "neap"
local process = require "neap.process"
local test = require "neap.test"
local helper = require "spec.helper"
local children = require "spec.support.children"

local shell, ready, exists = children.shell, children.ready, children.exists

describe("neap.process.spawn", function()
  it("starts a program and tells how it ended", function()
    local child <close> = shell "exit 3"
    assert.equal("integer", math.type(child.pid))
    assert.same({ 3, n = 1 }, table.pack(child:wait()))
    assert.equal(("<Process %d exited 3>"):format(child.pid), tostring(child))
  end)

  it("does so in a task too", function()
    assert.equal(7, helper.in_task(function()
      local child <close> = shell "exit 7"
      return child:wait()
    end))
  end)

  it("tells the signal that ended it, and then no code", function()
    local child <close> = shell "kill -9 $$"
    assert.same({ nil, "SIGKILL", n = 2 }, table.pack(child:wait()))
    assert.equal(("<Process %d ended by SIGKILL>"):format(child.pid), tostring(child))
  end)

  it("passes arguments as they are", function()
    local child <close> = assert(process.spawn { "printf", "%s|", "a b", "$HOME", "'\"", "", 12,
      1.5, stdout = "pipe" })
    assert.equal("a b|$HOME|'\"||12|1.5|", child.stdout:read "a")
  end)

  it("gives nil and an error for what cannot be started", function()
    local child, err = process.spawn { "neap-has-no-such-program", "x" }
    assert.is_nil(child)
    assert.is_true(neap.OSError:is(err))
    assert.same({ "ENOENT", "spawn", "neap-has-no-such-program" }, { err.code, err.op, err.path })
    assert.matches("no such file or directory: 'neap%-has%-no%-such%-program'", err.message)
    child, err = process.spawn { "/etc/passwd", stdin = "pipe", stdout = "pipe" }
    assert.is_nil(child)
    assert.equal("EACCES", err.code)
    child, err = process.spawn { "/etc/passwd/x" }
    assert.is_nil(child)
    assert.equal("ENOTDIR", err.code)
    child, err = process.spawn { "true", cwd = "/no/such/directory" }
    assert.is_nil(child)
    assert.same({ "ENOENT", "/no/such/directory" }, { err.code, err.path })
    child, err = process.spawn { "true", stdout = 1000 }
    assert.is_nil(child)
    assert.equal("EBADF", err.code)
  end)

  it("refuses what is no option", function()
    local function refused(pattern, options)
      local err = helper.catch(function() local _ = process.spawn(options) end)
      assert.matches("^spec/process_spec.lua:%d+: .*" .. pattern, err)
    end
    refused("bad argument #1 to 'neap.process.spawn' %(table expected, got string%)", "ls")
    refused("no program is given to 'neap.process.spawn'", {})
    refused("unknown option 'stdou' to 'neap.process.spawn'", { "ls", stdou = "pipe" })
    refused("unknown option 'input' to 'neap.process.spawn'", { "ls", input = "x" })
    refused("bad option '2' to 'neap.process.spawn' %(string expected, got boolean%)",
      { "ls", true })
    refused("bad option '1' to 'neap.process.spawn' %(string expected, got one with zeros%)",
      { "l\0s" })
    refused("bad option 'cwd' to 'neap.process.spawn' %(string expected, got number%)",
      { "ls", cwd = 1 })
    refused("bad option 'cwd'", { "ls", cwd = "/\0" })
    refused("bad option 'grace' to 'neap.process.spawn' %(0 or more expected, got %-1%)",
      { "ls", grace = -1 })
    refused("bad option 'grace'", { "ls", grace = 0 / 0 })
    refused("bad option 'env' .* %(no name of a variable: \"a=b\"%)",
      { "ls", env = { ["a=b"] = 1 } })
    refused("bad option 'env' .* %(no name of a variable: number%)", { "ls", env = { "A=1" } })
    refused("bad option 'env' .* %(no name of a variable: \"\"%)", { "ls", env = { [""] = "" } })
    refused("bad option 'env.A' .* %(string expected, got table%)", { "ls", env = { A = {} } })
    refused("bad option 'env.A'", { "ls", env = { A = false } })
    refused("bad option 'env_extra.A' .* one with zeros", { "ls", env_extra = { A = "\0" } })
    refused("bad option 'stdin' .* file or descriptor expected, got \"stdout\"",
      { "ls", stdin = "stdout" })
    refused("bad option 'stdout' .* got number", { "ls", stdout = -1 })
    refused("bad option 'stdout' .* got number", { "ls", stdout = 1.5 })
    refused("bad option 'stderr' .* got table", { "ls", stderr = {} })
    refused("bad option 'stderr'", { "ls", stderr = false })
    local file = io.tmpfile()
    file:close()
    refused("bad option 'stdout' to 'neap.process.spawn' %(the file is closed%)",
      { "ls", stdout = file })
  end)
end)

describe("Process:wait", function()
  it("wakes everybody who waits, and answers at once afterwards", function()
    local child <close> = ready("echo ready; read line; exit 4", { stdin = "pipe" })
    local tasks = {}
    for i = 1, 3 do tasks[i] = helper.start(child.wait, child) end
    assert.matches("waiting in 'Process:wait'", tostring(tasks[1]))
    child.stdin:write "\n"
    for _, task in ipairs(tasks) do assert.equal(4, task:await()) end
    assert.equal(4, child:wait())
    assert.is_false(child:is_running())
  end)

  it("can be cancelled and timed out: the child goes on", function()
    local child <close> = ready("echo ready; read line; exit 4", { stdin = "pipe" })
    local other = helper.start(child.wait, child)
    local task = helper.start(child.wait, child)
    task:cancel()
    assert.is_true(helper.is_cancelled(helper.catch(task.await, task)))
    assert.is_true(neap.TimeoutError:is(helper.catch(neap.wait_for, function()
      return child:wait()
    end, 0.001)))
    assert.is_true(child:is_running())
    child.stdin:write "\n"
    assert.equal(4, other:await())
  end)

  it("is named by a dump, with the child", function()
    local child <close> = ready "echo ready; exec sleep 100"
    local task = helper.start(child.wait, child)
    local text = ("'Process:wait' for <Process %d running>"):format(child.pid)
    assert.truthy(tostring(neap.all_tasks()):find(text, 1, true))
    task:cancel()
    pcall(task.await, task)
  end)

  it("works while many run", function()
    local tasks, n = {}, 50
    for i = 1, n do
      tasks[i] = neap.create_task(function()
        local child <close> = shell(("sleep 0.0%d; exit %d"):format(i % 10, i))
        return child:wait()
      end)
    end
    for i, code in ipairs(neap.gather(tasks)) do assert.equal(i, code) end
  end)
end)

describe("Process:kill", function()
  it("sends SIGTERM, or what it is told to", function()
    local child <close> = ready "echo ready; exec sleep 100"
    assert.is_true(child:kill())
    assert.same({ nil, "SIGTERM" }, { child:wait() })
    for _, signal in ipairs { "SIGINT", 2 } do
      local other <close> = ready "trap 'exit 9' INT; echo ready; while :; do sleep 0.01; done"
      assert.is_true(other:kill(signal))
      assert.equal(9, other:wait())
    end
  end)

  it("stops and continues", function()
    local child <close> = ready("echo ready; read line; echo $line", { stdin = "pipe" })
    child:kill "SIGSTOP"
    child.stdin:write "text\n"
    while children.state(child.pid) ~= "T" do neap.sleep(0.001) end
    assert.is_true(child:is_running())
    child:kill "SIGCONT"
    assert.equal("text", child.stdout:read())
  end)

  it("gives nil and an error once it has ended", function()
    local child <close> = shell "exit 0"
    child:wait()
    local done, err = child:kill()
    assert.is_nil(done)
    assert.same({ "ESRCH", "kill" }, { err.code, err.op })
  end)

  it("raises for what is no signal", function()
    local child <close> = shell "exit 0"
    assert.matches("bad argument #1 to 'kill' %(unknown signal 'TERM'%)",
      helper.catch(function() child:kill "TERM" end))
    assert.matches("number of a signal expected", helper.catch(function() child:kill(0) end))
    assert.matches("name or number of a signal expected",
      helper.catch(function() child:kill {} end))
    child:wait()
  end)

  it("is for the whole group where it was asked for", function()
    local child <close> = ready("sleep 100 & echo ready; echo $!; wait", { group = true })
    local other = child.stdout:read "n"
    assert.is_true(exists(other))
    child:kill "SIGKILL"
    child:wait()
    children.gone(other)
  end)
end)

describe("Process:close", function()
  it("ends it, and waits for that", function()
    for _, run in ipairs { helper.direct, helper.in_task } do
      local child
      run(function()
        local closed <close> = ready "echo ready; exec sleep 100"
        child = closed
        assert.is_true(child:is_running())
      end)
      assert.is_false(child:is_running())
      assert.is_false(exists(child.pid))
      assert.same({ nil, "SIGTERM" }, { child:wait() })
      child:close()
    end
  end)

  it("lets it end in its own way", function()
    local child = ready("trap 'exit 8' TERM; echo ready; while :; do sleep 0.01; done",
      { grace = 60 })
    child:close()
    assert.equal(8, child:wait())
  end)

  it("kills what does not mind SIGTERM", function()
    local child = ready("trap '' TERM; echo ready; while :; do sleep 0.01; done", { grace = 0.05 })
    child:close()
    assert.same({ nil, "SIGKILL" }, { child:wait() })
  end)

  it("does so under a clock that stands still as well", function()
    local _clock <close> = test.clock()
    local child = ready("trap '' TERM; echo ready; while :; do sleep 0.01; done", { grace = 0.02 })
    child:close()
    assert.same({ nil, "SIGKILL" }, { child:wait() })
  end)

  it("kills at once when it is cancelled, and waits all the same", function()
    local child = ready("trap '' TERM; echo ready; while :; do sleep 0.01; done", { grace = 1000 })
    local task = helper.start(child.close, child)
    local other = helper.start(child.close, child)
    assert.equal(("<Process %d ending>"):format(child.pid), tostring(child))
    task:cancel "enough"
    assert.is_true(helper.is_cancelled(helper.catch(task.await, task)))
    assert.is_false(exists(child.pid))
    assert.same({ nil, "SIGKILL" }, { child:wait() })
    other:await()
  end)

  it("wakes those who wait for its end or read from it", function()
    local child = ready "echo ready; exec sleep 100"
    local waiter = helper.start(child.wait, child)
    local reader = helper.start(child.stdout.read, child.stdout, "l")
    child:close()
    assert.same({ nil, "SIGTERM" }, { waiter:await() })
    local line, err = reader:await()
    assert.is_nil(line)
    assert.equal("EBADF", err.code)
    assert.is_true(child.stdout:is_closed())
  end)

  it("closes the streams of one that has ended", function()
    local child = shell("echo text", { stdin = "pipe", stdout = "pipe", stderr = "pipe" })
    child:wait()
    child:close()
    for _, name in ipairs { "stdin", "stdout", "stderr" } do
      assert.is_true(child[name]:is_closed())
    end
    child:close()
  end)

  it("asks it to end also where nobody can wait", function()
    local child = ready "echo ready; exec sleep 100"
    local ok, err
    neap.get_event_loop():call_soon(function() ok, err = pcall(child.close, child) end)
    assert.same({ nil, "SIGTERM" }, { child:wait() })
    assert.is_false(ok)
    assert.matches("cannot wait in 'Process:close' inside a loop callback", err)
  end)

  it("lets go of a detached one", function()
    local pid
    do
      local child <close> = ready("echo ready; exec sleep 100 >/dev/null", { detached = true })
      pid = child.pid
    end
    assert.is_true(exists(pid))
    os.execute("kill " .. pid)
    children.reaped(pid)
  end)

  it("ends what is left of a group", function()
    local child <close> = ready("sleep 100 >&2 & echo ready; echo $!", { group = true })
    local other = child.stdout:read "n"
    assert.equal(0, child:wait())
    assert.is_true(exists(other))
    child:close()
    children.gone(other)
  end)
end)

it("a Process has no other fields, and cannot be changed", function()
  local child <close> = shell "exit 0"
  assert.is_nil(child.stdout)
  assert.is_nil(child.nothing)
  assert.is_nil(child[1])
  assert.is_false(pcall(function() child.pid = 1 end))
  assert.matches("Process expected", helper.catch(child.wait, io.stdout))
  assert.matches("Process expected", helper.catch(child.kill))
  child:wait()
end)
