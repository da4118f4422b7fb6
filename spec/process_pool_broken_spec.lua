--- Process pools: workers that die, jobs that are cancelled.

local neap = require "neap"
local thread = require "neap.thread"
local helper = require "spec.helper"
local children = require "spec.support.children"
local folder = require "spec.support.folder"

local catch = helper.catch

local function pool_of(options) return thread.ProcessPoolExecutor(options) end

local function pid() return require "neap.core.worker".pid() end

--- Waits until there is a file.
local function exists(path)
  while true do
    local file = io.open(path)
    if file then return file:close() end
    neap.sleep(0.001)
  end
end

local function kill(signal, number) os.execute(("kill -%s %d"):format(signal, number)) end

describe("a worker process that dies", function()
  local at = folder(before_each, after_each)

  it("fails the job that it ran, and only that one", function()
    local pool <close> = pool_of(1)
    local first = pool:submit(pid)
    local job = pool:submit(function()
      os.execute "kill -9 $PPID"
      while true do end
    end)
    local other = pool:submit(pid) -- is in the queue meanwhile
    local number = first:await()
    local err = catch(job.await, job)
    assert.is_true(neap.BrokenExecutor:is(err))
    assert.equal(("worker process %d was ended by SIGKILL while it ran this job"):format(number),
      err.message)
    assert.not_equal(number, other:await())
    assert.matches("1 of 1 workers", tostring(pool))
  end)

  it("may have called os.exit, or have died of anything", function()
    local pool <close> = pool_of(1)
    local err = catch(function() pool:submit(os.exit, 3):await() end)
    assert.matches("^worker process %d+ exited with code 3 while it ran this job$", err.message)
    err = catch(function()
      pool:submit(function() os.execute "kill -USR2 $PPID; sleep 10" end):await()
    end)
    assert.is_true(neap.BrokenExecutor:is(err))
    assert.equal(1, pool:submit(math.max, 1):await())
  end)

  it("may have got SIGTERM while it was busy, or have cancelled whatever it has", function()
    local pool <close> = pool_of(1)
    for _, job in ipairs {
      function()
        require "neap.signal".raise "SIGTERM"
        while true do end
      end,
      function()
        for _, task in ipairs(require "neap".all_tasks()) do task:cancel() end
      end,
    } do
      local future = pool:submit(job)
      local err = catch(neap.wait_for, future, 50)
      assert.is_true(neap.BrokenExecutor:is(err), tostring(err))
      assert.equal(1, pool:submit(math.max, 1):await())
    end
  end)

  it("is replaced when it was idle, and nobody sees it", function()
    local pool <close> = pool_of(1)
    for _ = 1, 2 do
      local number = pool:submit(pid):await()
      kill("KILL", number)
      children.gone(number)
      assert.not_equal(number, pool:submit(pid):await())
      assert.is_false(children.exists(number))
    end
  end)

  it("leaves a job that it had not begun with to another one", function()
    local pool <close> = pool_of(1)
    local number = pool:submit(pid):await()
    kill("STOP", number) -- so that it does not read it
    local future = pool:submit(pid)
    helper.settle()
    kill("KILL", number)
    assert.not_equal(number, future:await())
  end)

  it("does not get the same job for ever", function()
    local pool <close> = pool_of { workers = 1,
      command = { "sh", "-c", [[printf '\001\000\000\000H\001' >&0; exit 4]] } }
    local err = catch(function() pool:submit(pid):await() end)
    assert.equal("3 worker processes ended before they began with this job; the last one exited "
      .. "with code 4", err.message)
  end)

  it("fails all jobs where none gets ready, and does not start them for ever", function()
    local script = at "worker"
    local log = at "log"
    local pool <close> = pool_of { workers = 2,
      command = { "sh", "-c", ("echo x >>%s; exit 7"):format(log), script } }
    local futures = {}
    for i = 1, 4 do futures[i] = pool:submit(pid) end
    for _, future in ipairs(futures) do
      local err = catch(future.await, future)
      assert.is_true(neap.BrokenExecutor:is(err))
      assert.matches("^worker processes end before they are ready: 'sh' exited with code 7 .*"
        .. "option 'command'", err.message)
    end
    local count = 0
    for _ in io.lines(log) do count = count + 1 end
    assert.is_true(count <= 12)
    assert.matches("0 of 2 workers, 0 jobs", tostring(pool))
  end)

  it("cannot even be started: the jobs fail with the reason", function()
    local pool <close> = pool_of { workers = 2, command = { "neap-has-no-such-program" } }
    for _ = 1, 2 do
      local one, two = pool:submit(pid), pool:submit(pid)
      for _, future in ipairs { one, two } do
        local err = catch(future.await, future)
        assert.is_true(neap.BrokenExecutor:is(err))
        assert.matches("^a worker process cannot be started: .*no such file or directory: "
          .. "'neap%-has%-no%-such%-program'", err.message)
        assert.equal("ENOENT", err.cause.code)
      end
    end
  end)

  it("needs a command in programs that embed neap", function()
    local core = require "neap.core.worker"
    local program = core.program
    local _restore <close> = helper.closing(function() core.program = program end)
    core.program = function() return "/opt/application", false end
    local pool <close> = pool_of(1)
    local err = catch(function() pool:submit(pid):await() end)
    assert.is_true(neap.BrokenExecutor:is(err))
    assert.matches("^'/opt/application' is a program .* option 'command'", err.message)
    local path = program()
    local other <close> = pool_of { workers = 1, command = { path } }
    assert.equal(1, other:submit(math.max, 1):await())
  end)

  it("may be no worker at all", function()
    local pool <close> = pool_of { workers = 1, command = { "sh", "-c", "cat >&0" } }
    local err = catch(function() pool:submit(pid):await() end)
    assert.matches("'sh' sent what no worker of this version sends, and ", err.message)
  end)
end)

describe("a job", function()
  local at = folder(before_each, after_each)

  it("that is cancelled before it has started is never run", function()
    local pool <close> = pool_of(1)
    local gate = at "gate"
    local function touch(name) os.execute("touch " .. name) end
    local first = pool:submit(os.execute, ("until [ -e %s ]; do sleep 0.002; done"):format(gate))
    local second = pool:submit(touch, at "second")
    local third = pool:submit(touch, at "third")
    assert.is_true(second:cancel())
    neap.sleep(0)
    assert.matches("2 jobs", tostring(pool))
    touch(gate)
    assert.is_true(first:await())
    third:await()
    exists(at "third")
    assert.is_nil(io.open(at "second"))
    assert.is_true(second:cancelled())
  end)

  it("that is cancelled while it runs is cancelled there, and its result dropped", function()
    local pool <close> = pool_of(1)
    local started = at "started"
    local function job()
      io.open(started, "w"):close()
      local ok, err = pcall(neap.sleep, 100)
      rawset(_G, "told", ok or tostring(err))
      error(err, 0)
    end
    local future = pool:submit(job)
    exists(started)
    local task = helper.start(future.await, future)
    assert.is_true(future:cancel "enough")
    assert.is_true(helper.is_cancelled(catch(task.await, task)))
    local told = pool:submit(function() return rawget(_G, "told") end):await()
    assert.equal("CancelledError: enough", told)
    assert.matches("1 of 1 workers, 0 jobs", tostring(pool))
  end)

  it("is cancelled with the task that awaits it", function()
    local pool <close> = pool_of(1)
    local task = helper.start(function() pool:submit(neap.sleep, 100):await() end)
    task:cancel()
    assert.is_true(helper.is_cancelled(catch(task.await, task)))
    assert.equal(1, pool:submit(math.max, 1):await())
    assert.is_true(neap.TimeoutError:is(catch(function()
      neap.wait_for(pool:submit(neap.sleep, 100), 0.01)
    end)))
    assert.equal(1, pool:submit(math.max, 1):await())
  end)

  it("that is cancelled while its process starts leaves its function usable", function()
    local pool <close> = pool_of(1)
    local function double(x) return 2 * x end
    local future = pool:submit(double, 1)
    helper.settle(3)
    future:cancel()
    assert.equal(4, pool:submit(double, 2):await())
  end)

  it("that takes no notice is waited for by the next one, its result dropped", function()
    local pool <close> = pool_of(1)
    local started = at "started"
    local future = pool:submit(function()
      io.open(started, "w"):close()
      pcall(neap.sleep, 100)
      neap.current_task():uncancel()
      neap.sleep(0.01)
      return "not wanted"
    end)
    exists(started)
    future:cancel()
    assert.equal(1, pool:submit(math.max, 1):await())
    assert.is_true(future:cancelled())
  end)

  it("that cancels itself has a cancelled Future", function()
    local pool <close> = pool_of(1)
    local future = pool:submit(function()
      neap.current_task():cancel "that is all"
      neap.sleep(0)
    end)
    local err = catch(future.await, future)
    assert.is_true(helper.is_cancelled(err))
    assert.equal("that is all", err.message)
    assert.is_true(future:cancelled())
  end)

  it("of a map is cancelled when the loop is left", function()
    local pool <close> = pool_of(2)
    local seen = {}
    for value in pool:map(function(x)
      if x > 2 then neap.sleep(100) end
      return x
    end, { 1, 2, 3, 4, 5, 6 }) do
      seen[#seen + 1] = value
      if value == 2 then break end
    end
    assert.same({ 1, 2 }, seen)
    assert.equal(1, pool:submit(math.max, 1):await())
  end)
end)
