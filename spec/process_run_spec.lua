--- neap.process.run: a program from its start to its end.

local neap = require "neap"
local process = require "neap.process"
local test = require "neap.test"
local helper = require "spec.helper"
local children = require "spec.support.children"

--- The number that a program has written to the file before its time was over, by `run`.
--- Where it did not come so far, it gets more time.
local function late(run, file, options)
  local number
  options.timeout = 0.05
  repeat
    local err = helper.catch(run, process.run, options)
    assert.is_true(neap.TimeoutError:is(err))
    file:seek "set"
    number = file:read "n"
    options.timeout = options.timeout * 2
  until number
  return number
end

describe("neap.process.run", function()
  it("gives what the program wrote, and how it ended", function()
    for _, run in ipairs { helper.direct, helper.in_task } do
      local result = assert(run(process.run, { "sh", "-c", "echo out; echo err >&2; exit 5" }))
      assert.same({ code = 5, stdout = "out\n", stderr = "err\n" }, result)
    end
    assert.same({ signal = "SIGTERM", stdout = "", stderr = "" },
      (process.run { "sh", "-c", "kill $$" }))
  end)

  it("gives the program input, or none", function()
    assert.equal("b a", process.run({ "cat", input = "b a" }).stdout)
    assert.equal("", process.run({ "cat", input = "" }).stdout)
    assert.equal("", process.run({ "cat" }).stdout)
  end)

  it("takes other streams", function()
    local file <close> = io.tmpfile()
    local result = process.run { "sh", "-c", "echo out; echo err >&2", stdout = file }
    assert.same({ code = 0, stderr = "err\n" }, result)
    file:seek "set"
    assert.equal("out\n", file:read "a")
    assert.same({ code = 0 }, (process.run { "echo", stdout = "null", stderr = "null" }))
    file:seek "set"
    assert.equal("out\n", process.run({ "cat", stdin = file }).stdout)
  end)

  it("writes and reads at once, however much", function()
    local text = ("0123456789abcdef"):rep(2 ^ 17)
    local result = assert(process.run { "cat", input = text })
    assert.is_true(result.stdout == text)
    result = assert(process.run { "sh", "-c", "tee /dev/stderr", input = text })
    assert.is_true(result.stdout == text and result.stderr == text)
  end)

  it("does not mind a program that leaves its input unread", function()
    local result = assert(process.run { "head", "-c", "3", input = ("abc"):rep(2 ^ 18) })
    assert.same({ code = 0, stdout = "abc", stderr = "" }, result)
    result = assert(process.run { "true", input = ("abc"):rep(2 ^ 18) })
    assert.equal(0, result.code)
  end)

  it("gives nil and an error for what cannot be started", function()
    local result, err = process.run { "neap-has-no-such-program", input = "x" }
    assert.is_nil(result)
    assert.equal("ENOENT", err.code)
  end)

  it("takes a failure for an error where it is to check", function()
    assert.equal(0, process.run({ "true", check = true }).code)
    local result, err = process.run { "sh", "-c", "echo out; echo a >&2; echo why >&2; exit 3",
      check = true }
    assert.is_nil(result)
    assert.is_true(neap.Error:is(err))
    assert.equal("'sh' exited with code 3: why", err.message)
    assert.equal("run", err.op)
    assert.same({ code = 3, stdout = "out\n", stderr = "a\nwhy\n" }, err.result)
    assert.matches("^Error: 'sh' was ended by SIGKILL$",
      tostring(select(2, process.run { "sh", "-c", "kill -9 $$", check = true })))
    assert.matches("^'sh' exited with code 1$", select(2, process.run { "sh", "-c", "exit 1",
      check = true, stderr = "null" }).message)
  end)

  it("tells of a failure at once, however much was written to stderr", function()
    local _, err = process.run { "sh", "-c", check = true, [[
      head -c 40000 /dev/zero | tr '\0' x >&2; echo >&2
      head -c 40000 /dev/zero | tr '\0' '\n' >&2; printf 'why\n \n' >&2; exit 1]] }
    assert.equal(80001 + 6, #err.result.stderr)
    local before = os.clock()
    err = select(2, process.run { "sh", "-c", check = true, [[
      for i in 1 2 3 4; do head -c 40000 /dev/zero | tr '\0' x >&2; echo >&2; done
      echo why >&2; exit 1]] })
    assert.equal("'sh' exited with code 1: why", err.message)
    assert.is_true(os.clock() - before < 5) -- by a pattern it takes minutes
  end)

  it("ends the program when the time is over", function()
    for _, run in ipairs { helper.direct, helper.in_task } do
      local file <close> = io.tmpfile()
      local pid = late(run, file, { "sh", "-c", "echo $$; exec sleep 100", stdout = file })
      assert.is_false(children.exists(pid))
    end
    assert.equal(0, process.run({ "true", timeout = 100 }).code)
  end)

  it("ends its group where it has one", function()
    local file <close> = io.tmpfile()
    children.gone(late(helper.direct, file, { "sh", "-c", "sleep 100 & echo $! >&2; wait",
      stderr = file, group = true }))
  end)

  it("ends the group of a program that left others behind which hold its streams", function()
    local file <close> = io.tmpfile()
    children.gone(late(helper.direct, file, { "sh", "-c", "sleep 100 & echo $! >&2",
      stderr = file, group = true }))
  end)

  it("ends the program when its task is cancelled", function()
    local file <close> = io.tmpfile()
    local task = helper.start(process.run, { "sh", "-c", "echo $$; exec sleep 100", stdout = file })
    local pid
    repeat
      neap.sleep(0.001)
      file:seek "set"
      pid = file:read "n"
    until pid
    task:cancel()
    assert.is_true(helper.is_cancelled(helper.catch(task.await, task)))
    assert.is_false(children.exists(pid))
  end)

  it("has a limit for what is kept, where it is given one", function()
    local result, err = process.run { "cat", input = ("x"):rep(2 ^ 20), max_output = 1000 }
    assert.is_nil(result)
    assert.is_true(neap.LimitOverrunError:is(err))
    assert.equal("the process wrote more than 1000 bytes to stdout", err.message)
    assert.is_true(#err.result.stdout > 1000)
    result = process.run { "cat", input = ("x"):rep(1000), max_output = 1000 }
    assert.equal(1000, #result.stdout)
    result, err = process.run { "sh", "-c", "sleep 100 & yes", max_output = 1000, group = true }
    assert.is_nil(result)
    assert.is_true(neap.LimitOverrunError:is(err))
  end)

  it("refuses what is no option", function()
    local function refused(pattern, options)
      local err = helper.catch(function() local _ = process.run(options) end)
      assert.matches("^spec/process_run_spec.lua:%d+: .*" .. pattern, err)
    end
    refused("bad argument #1 to 'neap.process.run' %(table expected, got nil%)")
    refused("unknown option 'tmeout' to 'neap.process.run'", { "ls", tmeout = 1 })
    refused("bad option 'timeout' .* %(number expected, got string%)", { "ls", timeout = "1" })
    refused("bad option 'timeout' .* %(0 or more expected, got %-1%)", { "ls", timeout = -1 })
    refused("bad option 'input' .* %(string expected, got number%)", { "ls", input = 1 })
    refused("bad option 'check' .* %(boolean expected, got number%)", { "ls", check = 1 })
    refused("bad option 'max_output'", { "ls", max_output = 0 / 0 })
    refused("bad option 'stdout' .* expected, got table", { "ls", stdout = {} })
    refused("bad option 'stdin' to 'neap.process.run' %(use 'input'%)", { "ls", stdin = "pipe" })
    refused("options 'input' and 'stdin' .* exclude each other", { "ls", stdin = "null",
      input = "" })
    refused("option 'detached' has no meaning", { "ls", detached = true })
  end)

  it("starts nothing where nobody can wait", function()
    local err
    neap.get_event_loop():call_soon(function()
      err = helper.catch(process.run, { "true" })
    end)
    neap.sleep(0)
    assert.matches("cannot wait in 'neap.process.run' inside a loop callback", err)
  end)

  it("may be cancelled at each of its waits", function()
    local before = children.descriptors()
    local waits = test.cancel_sweep(function()
      assert(process.run { "cat", input = ("x"):rep(200000) })
    end)
    assert.is_true(waits > 0)
    waits = test.cancel_sweep(function()
      process.run { "sh", "-c", "echo x; sleep 0.01; echo y >&2; exit 2", check = true }
    end)
    assert.is_true(waits > 0)
    assert.equal(before, children.descriptors())
    assert.same({}, children.list())
  end)

  it("runs many at a time", function()
    local slots, tasks = neap.Semaphore(20), {}
    for i = 1, 60 do
      tasks[i] = neap.create_task(function()
        local _slot <close> = slots:acquire()
        return assert(process.run { "cat", input = tostring(i) }).stdout
      end)
    end
    for i, text in ipairs(neap.gather(tasks)) do assert.equal(tostring(i), text) end
  end)
end)
