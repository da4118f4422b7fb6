--- Process pools: calls in other processes, their results and errors.

local neap = require "neap"
local thread = require "neap.thread"
local helper = require "spec.helper"
local children = require "spec.support.children"
local folder = require "spec.support.folder"

local catch, in_task = helper.catch, helper.in_task

local function pool_of(options) return thread.ProcessPoolExecutor(options) end

--- The number of the process that runs a job.
local function pid() return require "neap.core.worker".pid() end

local function count(list)
  local n = 0
  for _ in pairs(list) do n = n + 1 end
  return n
end

describe("a ProcessPoolExecutor", function()
  local at = folder(before_each, after_each)

  it("calls functions in another process", function()
    for _, run in ipairs { helper.direct, in_task } do
      run(function()
        local pool <close> = pool_of(1)
        local before = count(children.list())
        local future = pool:submit(function(...) return select("#", ...), nil, ... end, 1, nil, "x",
          nil)
        assert.matches("^<Future pending>", tostring(future))
        assert.same({ 4, nil, 1, nil, "x", nil, n = 6 }, table.pack(future:await()))
        assert.equal(0, select("#", pool:submit(function() end):await()))
        local other = pool:submit(pid):await()
        assert.is_true(children.exists(other))
        assert.not_equal(pid(), other)
        assert.equal(before + 1, count(children.list()))
      end)
    end
  end)

  it("takes library functions, and what a function refers to", function()
    local pool <close> = pool_of(1)
    assert.equal(5, pool:submit(math.max, 3, 5):await())
    local factor, list = 3, { 1, 2 }
    assert.same({ 3, 6 }, pool:submit(function(more)
      local result = {}
      for i, x in ipairs(list) do result[i] = x * factor + more end
      neap.sleep(0)
      return result
    end, 0):await())
    assert.equal(2, #list)
    assert.equal("helped", pool:submit(function()
      return require "spec.support.kept" and "helped" -- package.path is as here
    end):await())
  end)

  it("starts processes when there is work for them, and no more than it may", function()
    local pool <close> = pool_of(2)
    assert.matches("0 of 2 workers, 0 jobs", tostring(pool))
    for _ = 1, 3 do pool:submit(pid):await() end
    assert.equal("<ProcessPoolExecutor, 1 of 2 workers, 0 jobs>", tostring(pool))
    local futures, seen = {}, {}
    for i = 1, 6 do
      futures[i] = pool:submit(function()
        neap.sleep(0.02)
        return require "neap.core.worker".pid()
      end)
    end
    assert.equal("<ProcessPoolExecutor, 2 of 2 workers, 6 jobs>", tostring(pool))
    for _, number in ipairs(neap.gather(futures)) do seen[number] = true end
    assert.equal(2, count(seen))
  end)

  it("has as many as there are processors, unless it is told", function()
    local processors = require "neap.thread.processors"()
    assert.is_true(processors >= 1)
    assert.matches("0 of " .. processors .. " workers", tostring(pool_of()))
    assert.matches("0 of 3 workers", tostring(pool_of { workers = 3 }))
  end)

  it("sleeps three times at once in three", function()
    local pool <close> = pool_of(3)
    -- Each holds its process until all three are there.
    local function job(mine)
      local script = ("cd %s; touch %s; until [ -e 1 ] && [ -e 2 ] && [ -e 3 ]; do sleep 0.005; "
        .. "done"):format(at(), mine)
      return pool:submit(os.execute, script)
    end
    assert.same({ true, true, true, n = 3 }, neap.gather { job(1), job(2), job(3) })
  end)

  it("runs a job as a task that may wait, one at a time in each process", function()
    local pool <close> = pool_of(1)
    local function job()
      local n = (rawget(_G, "running") or 0) + 1
      rawset(_G, "running", n)
      neap.sleep(0.002)
      neap.gather(function() neap.sleep(0) end, function() neap.sleep(0.001) end)
      rawset(_G, "running", rawget(_G, "running") - 1)
      return n, neap.current_task() ~= nil
    end
    local futures = {}
    for i = 1, 4 do futures[i] = pool:submit(job) end
    for _, future in ipairs(futures) do assert.same({ 1, true }, { future:await() }) end
  end)

  it("sends a function once: what it keeps lives on in that process", function()
    local pool <close> = pool_of(1)
    local n = 0
    local function count_up()
      n = n + 1
      return n
    end
    for i = 1, 3 do assert.equal(i, pool:submit(count_up):await()) end
    assert.equal(0, n)
    -- Another function of the same text has its own.
    local function twin() local m = 0; return function() m = m + 1; return m end end
    local one, two = twin(), twin()
    assert.same({ 1, 2, 1 }, { pool:submit(one):await(), pool:submit(one):await(),
      pool:submit(two):await() })
    -- Where its upvalues change here, it is sent anew.
    n = 100
    assert.same({ 101, 102 }, { pool:submit(count_up):await(), pool:submit(count_up):await() })
  end)

  it("has its processes forget functions that were not used for long", function()
    local pool <close> = pool_of(1)
    local n, fns = 0, {}
    local function first()
      n = n + 1
      return n
    end
    assert.equal(1, pool:submit(first):await())
    for i = 1, 70 do
      fns[i] = pool:submit(function() return i end)
    end
    for i, future in ipairs(fns) do assert.equal(i, future:await()) end
    assert.equal(1, pool:submit(first):await())
    assert.equal(64, count(pool._shipping._recent))
  end)

  it("gives jobs an empty standard input, and the standard output of this program", function()
    local result = helper.run [[
      local neap = require "neap"
      local pool <close> = require "neap.thread".ProcessPoolExecutor(1)
      print(pool:submit(function()
        print "from the job"
        return io.read()
      end):await())
    ]]
    assert.same({ out = "from the job\nnil\n", err = "", code = 0 }, result)
  end)

  it("can be used from callbacks", function()
    local pool <close> = pool_of(1)
    local future
    neap.get_event_loop():call_soon(function() future = pool:submit(math.max, 7) end)
    neap.sleep(0)
    assert.equal(7, future:await())
  end)

  it("carries large values both ways", function()
    local pool <close> = pool_of(2)
    local text = ("0123456789abcdef"):rep(100000)
    local futures = {}
    for i = 1, 4 do futures[i] = pool:submit(string.upper, text) end
    for _, future in ipairs(futures) do assert.is_true(future:await() == text:upper()) end
  end)

  it("maps, with its own number in flight", function()
    local pool <close> = pool_of(2)
    local list, seen = {}, {}
    for i = 1, 50 do list[i] = i end
    for square in pool:map(function(x) return x * x end, list) do
      seen[#seen + 1] = square
      assert.is_true(pool._last_job <= #seen + 4)
    end
    assert.equal(50, #seen)
    for i, square in ipairs(seen) do assert.equal(i * i, square) end
    local n = 0
    for square in pool:map(function(x) return x * x end, list, { chunk = 20 }) do
      n = n + 1
      assert.equal(n * n, square)
    end
    assert.equal(50, n)
    assert.equal(53, pool._last_job)
  end)

  it("refuses wrong arguments", function()
    local function refused(pattern, fn, ...)
      assert.matches("^spec/process_pool_spec.lua:%d+: .*" .. pattern,
        catch(function(...) local _ = fn(...) end, ...))
    end
    local name = "'neap.thread.ProcessPoolExecutor'"
    refused("bad argument #1 to " .. name .. " %(integer of 1 or more or table expected, got 0%)",
      pool_of, 0)
    refused("got 1.5", pool_of, 1.5)
    refused("got string", pool_of, "4")
    refused("unknown option 'size' to " .. name, pool_of, { size = 1 })
    refused("bad option 'workers' to " .. name .. " %(integer of 1 or more expected, got %-1%)",
      pool_of, { workers = -1 })
    refused("bad option 'command' to " .. name .. " %(table expected, got string%)", pool_of,
      { command = "neap" })
    refused("bad option 'command' .* %(list of strings expected%)", pool_of, { command = {} })
    refused("bad option 'command'", pool_of, { command = { "neap", 1 } })
    local pool = pool_of(1)
    refused("bad argument #1 to 'submit' %(function expected, got nil%)", pool.submit, pool)
    refused("bad argument #1 to 'map' %(function expected, got nil%)", pool.map, pool)
    refused("bad argument #2 to 'map'", pool.map, pool, print)
    refused("bad argument #1 to 'shutdown' %(boolean expected, got table%)", pool.shutdown, pool,
      {})
    refused("unknown option 'cancel' to 'shutdown'", pool.shutdown, pool, true, { cancel = true })
    for _, method in ipairs { "submit", "map", "shutdown" } do
      refused("bad argument #1 to '" .. method
        .. "' %(.*ProcessPoolExecutor expected, got function%)",
        pool[method], print)
    end
  end)
end)

describe("an error in a worker process", function()
  it("is that of the Future, with the tracebacks of both", function()
    local pool <close> = pool_of(1)
    local function inner() error("no such file", 0) end
    local function job()
      neap.sleep(0)
      inner()
    end
    local task = neap.create_task(function() pool:submit(job):await() end)
    assert.equal("no such file", catch(task.await, task))
    local text = task:traceback()
    assert.matches("in upvalue 'inner'.*in function <spec/process_pool_spec.lua:%d+>\n"
      .. "  in worker process %d+\n.*in method 'await'", text)
    assert.is_nil(text:find "process_worker")
  end)

  it("keeps its class and fields", function()
    local pool <close> = pool_of(1)
    local err = catch(function()
      pool:submit(function()
        local err = neap.TimeoutError "too late"
        err.detail = { 1, 2 }
        error(err)
      end):await()
    end)
    assert.is_true(neap.TimeoutError:is(err))
    assert.equal("too late", err.message)
    assert.same({ 1, 2 }, err.detail)
    err = catch(function() pool:submit(error, { code = 5 }):await() end)
    assert.same({ code = 5 }, err)
  end)

  it("comes as text where it cannot cross", function()
    local pool <close> = pool_of(1)
    local err = catch(function()
      pool:submit(function()
        error(setmetatable({ coroutine.create(print) },
          { __tostring = function() return "odd" end }))
      end):await()
    end)
    assert.equal("odd", err)
  end)

  it("says which result cannot cross", function()
    local pool <close> = pool_of(1)
    local err = catch(function()
      pool:submit(function() return 1, { x = { coroutine.create(print) } } end):await()
    end)
    assert.matches("result 2.x%[1%]: a coroutine cannot cross", tostring(err))
    assert.equal(1, pool:submit(math.max, 1):await())
  end)

  it("is not needed to see that an argument or upvalue cannot cross: submit raises", function()
    local pool <close> = pool_of(1)
    local co = coroutine.create(print)
    assert.matches("^argument 2.handlers%[3%]: a coroutine cannot cross to another process",
      catch(pool.submit, pool, print, 1, { handlers = { 1, 2, co } }))
    assert.matches("^function %(upvalue 'co'%): a coroutine cannot cross",
      catch(pool.submit, pool, function() return co end))
    assert.matches("0 jobs", tostring(pool))
  end)

  it("is that there are too many bytes", function()
    local frame = require "neap.thread.frame"
    local limit <close> = helper.closing(function() frame.LIMIT = 1 << 30 end)
    local pool <close> = pool_of(1)
    pool:submit(function() require "neap.thread.frame".LIMIT = 1000 end):await()
    local err = catch(function() pool:submit(string.rep, "x", 2000):await() end)
    assert.is_true(neap.LimitOverrunError:is(err))
    assert.matches("the results take 20%d%d bytes", err.message)
    frame.LIMIT = 500
    err = catch(pool.submit, pool, print, ("x"):rep(600))
    assert.is_true(neap.LimitOverrunError:is(err))
    assert.matches("the function or its arguments take 6%d%d bytes", err.message)
    -- What a worker sends in spite of it is not read.
    err = catch(function() pool:submit(string.rep, "x", 600):await() end)
    assert.is_true(neap.BrokenExecutor:is(err))
    assert.matches("sent a frame of 6%d%d bytes, and ", err.message)
    assert.is_not_nil(limit)
  end)

  it("that nobody looks at is reported", function()
    local pool <close> = pool_of(1)
    local done = neap.Event()
    do
      local future = pool:submit(error, "lost", 0)
      future:add_done_callback(function() done:set() end)
    end
    done:wait()
    helper.settle()
    collectgarbage()
    collectgarbage()
    local reports = helper.reports.take()
    assert.equal(1, #reports)
    assert.equal("lost", reports[1].exception)
  end)
end)
